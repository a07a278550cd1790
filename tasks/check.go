package tasks

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/internal/human"
	"lifeline/internal/supervisor"
)

func checkCommand() *cli.Command {
	var o options
	var maxAge, warnAge time.Duration
	return &cli.Command{
		Name:      "check",
		Usage:     "for Nagios and its like: one line and a code",
		UsageText: "lifeline check NAME --max-age 15m\n\nOK (0) when its last success isn't older: a run that ended with 0; or now, for\none that is kept up with --respawn and is up (with --notify: ready).\nElse CRITICAL (2). WARNING (1) when a run since has failed, or when it is older\nthan --warn-age; UNKNOWN (3) when that can't be told.",
		Flags: append(o.dirFlags(),
			&cli.DurationFlag{Name: "max-age", Destination: &maxAge, Required: false, Usage: "a success so `long` ago will do"},
			&cli.DurationFlag{Name: "warn-age", Destination: &warnAge, Action: notNegative("warn-age"), Usage: "warn when it is so `long` ago"}),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			if maxAge <= 0 {
				return usage("--max-age is missing: how old may the last success of %s be, such as 15m?", name)
			}
			if warnAge > maxAge {
				return usage("--warn-age %s is more than --max-age %s", warnAge, maxAge)
			}
			code, text := 3, ""
			list, err := o.stand(c.Context, []string{name})
			if err != nil {
				text = err.Error()
			} else {
				code, text = judge(list[0], maxAge, warnAge)
			}
			fmt.Fprintf(os.Stdout, "LIFELINE %s - %s: %s\n", [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[code], name, human.Printable(text))
			if code != 0 {
				return &codeError{code, ""}
			}
			return nil
		},
	}
}

// judge gives Nagios's code and what there is to say.
func judge(s standing, maxAge, warnAge time.Duration) (code int, text string) {
	good := s.State == supervisor.StateRunning || s.State == supervisor.StateReady || s.State == supervisor.StateReloading
	if s.daemon && good && s.UpSince != nil {
		text = s.State + " for " + human.Age(*s.UpSince)
		if n := s.Restarts; n > 0 {
			text += fmt.Sprintf(", %d restarts", n)
		}
		return 0, text
	}
	now := s.State
	if s.UpSince != nil {
		now += " for " + human.Age(*s.UpSince)
	}
	if s.Last != nil {
		now += "; last run: " + lastExit(s.Last)
	}
	if s.Problem != "" && s.LastSuccess == nil {
		return 3, s.Problem
	}
	if s.LastSuccess == nil {
		if s.Last == nil && !s.Running {
			return 3, "it has never run here"
		}
		return 2, "never succeeded; " + now
	}
	old := time.Since(*s.LastSuccess)
	text = fmt.Sprintf("last success %s ago; %s", human.Length(old), now)
	switch {
	case old > maxAge:
		return 2, text
	case warnAge > 0 && old > warnAge, s.Last != nil && s.Last.End.After(*s.LastSuccess) && !s.Last.Good() && s.Last.Outcome != supervisor.OutcomeStopped:
		return 1, text
	}
	return 0, text
}
