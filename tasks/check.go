package tasks

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
)

func checkCommand() *cli.Command {
	var o options
	var maxAge, warnAge time.Duration
	return &cli.Command{
		Name:  "check",
		Usage: "for Nagios and its like: one line and a code",
		UsageText: "lifeline check NAME --max-age 15m\n\nOK (0) when its last success isn't older: a run that ended " +
			"with 0; or now, for a daemon that is up (with --notify: ready). A daemon has --respawn, or has never " +
			"ended with 0 and has no schedule but every minute. A node of a cluster that stands by is OK while it " +
			"reaches the engine. Else CRITICAL (2). WARNING (1) when a run since has failed, when it is older than " +
			"--warn-age, or when it is paused; UNKNOWN (3) when that can't be told, or the command line is wrong. " +
			"Performance data follow behind a |.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "max-age", value: "TIME", to: duration(&maxAge, 0), usage: "the last success may be TIME ago"},
			{name: "warn-age", value: "TIME", to: duration(&warnAge, 0), usage: "warn when it is TIME ago"}}),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			switch {
			case err != nil:
			case maxAge <= 0:
				err = usage("--max-age is missing: how old may the last success of %s be, such as 15m?", name)
			case warnAge < 0:
				err = usage("--warn-age %s: a time can't be negative", warnAge)
			case warnAge > maxAge:
				err = usage("--warn-age %s is more than --max-age %s", warnAge, maxAge)
			}
			if err != nil {
				return unknown(err)
			}
			code, text := 3, ""
			list, err := o.stand(c.Context, []string{name})
			if err != nil {
				text = err.Error()
			} else {
				code, text = judge(list[0], maxAge, warnAge)
			}
			fmt.Fprintf(os.Stdout, "LIFELINE %s - %s: %s\n",
				[...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[code], name,
				human.Printable(text)+performance(list, maxAge, warnAge))
			if code != 0 {
				return &codeError{code, ""}
			}
			return nil
		},
	}
}

// unknown gives err Nagios's code for UNKNOWN, 3: monitors take 1 and 2 for
// verdicts, and don't know 64.
func unknown(err error) error { return &codeError{3, err.Error()} }

// performance returns the figures that a monitor draws: behind a |, in the form of
// the Nagios plugin guidelines.
func performance(list []instanceStatus, maxAge, warnAge time.Duration) string {
	if len(list) == 0 {
		return ""
	}
	s, out := list[0], ""
	if s.LastSuccess != nil {
		warn := ""
		if warnAge > 0 {
			warn = fmt.Sprintf("%g", warnAge.Seconds())
		}
		out += fmt.Sprintf(" age=%.0fs;%s;%g;0", max(time.Since(*s.LastSuccess), 0).Seconds(), warn, maxAge.Seconds())
	}
	if s.UpSince != nil {
		out += fmt.Sprintf(" uptime=%.0fs;;;0", max(time.Since(*s.UpSince), 0).Seconds())
	}
	if s.Processes > 0 {
		out += fmt.Sprintf(" memory=%dB;;;0", s.Memory)
	}
	return " |" + out + fmt.Sprintf(" restarts=%d;;;0", s.Restarts)
}

// isDaemon reports whether s is a daemon, and not a job that ends. A name without
// --respawn is a daemon if it never succeeded and ticks every minute or at boot.
func (s instanceStatus) isDaemon() bool {
	plain := s.Schedule == "" || s.Schedule == "@reboot" || s.Schedule == install.EveryMinute
	return s.daemon || s.LastSuccess == nil && plain
}

// judge returns Nagios's code for s, and the text behind it.
func judge(s instanceStatus, maxAge, warnAge time.Duration) (code int, text string) {
	good := s.State == supervisor.StateRunning || s.State == supervisor.StateReady ||
		s.State == supervisor.StateReloading
	if s.Paused {
		text = "paused until lifeline resume " + s.Name
		if s.PausedUntil != nil {
			text = "paused until " + human.ShortTime(*s.PausedUntil)
		}
		if s.UpSince != nil {
			text += "; " + s.State + " for " + human.Age(*s.UpSince)
		}
		return 1, text
	}
	if s.State == supervisor.StateStandingBy || s.State == supervisor.StateWaiting && s.Last == nil {
		text = s.State + " on node " + s.Node
		if !s.since.IsZero() {
			text += " for " + human.Age(s.since)
		}
		switch {
		case s.Status != "":
			return 2, text + "; " + s.Status
		case s.State == supervisor.StateStandingBy:
			return 0, text + ": another node has the lease, or will"
		}
		return 0, text
	}
	failed := s.Last != nil && !s.Last.Good() && s.Last.Outcome != journal.Stopped
	if s.isDaemon() && good && s.UpSince != nil {
		text = s.State + " for " + human.Age(*s.UpSince)
		if n := s.Restarts; n > 0 {
			text += fmt.Sprintf(", %d restarts", n)
		}
		if !s.daemon && failed && time.Since(*s.UpSince) < maxAge {
			return 1, text + "; last run: " + lastExit(s.Last)
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
	case warnAge > 0 && old > warnAge, failed && s.Last.End.After(*s.LastSuccess):
		return 1, text
	}
	return 0, text
}
