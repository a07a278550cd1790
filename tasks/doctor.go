package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/install"
	"lifeline/internal/doctor"
	"lifeline/internal/guard"
	"lifeline/internal/process"
)

func doctorCommand() *cli.Command {
	var o options
	d := doctor.Doctor{Understand: understand, ReadEnvFile: readEnvFile, Terminate: func(ctx context.Context,
		g guard.Guard, name string) error {
		return ending{signal: unix.SIGTERM, mixed: true, grace: 10 * time.Second}.terminate(ctx, g, name)[0].err
	}}
	return &cli.Command{
		Name:  "doctor",
		Usage: "why did (or won't) it run?",
		UsageText: "lifeline doctor [options] [NAME]\n\nIt looks at cron, the crontab, the command as cron would " +
			"find it, the state directory, the record, the locks and the last runs; without NAME at all names that " +
			"are known here. Each finding says what to do. It exits with 0 only when all is well, else with 1.\n\nIt " +
			"changes nothing, unless --simulate is given: then what stands in the crontab is really run, in the " +
			"environment that cron gives, and ended after a while. An instance that runs is left alone.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "simulate", to: toggle(&d.Simulate), usage: "start the command as cron would, for a while"},
			{name: "for", value: "TIME", to: duration(&d.For, 5*time.Second),
				usage: "with --simulate: end it after TIME"}}),
		Action: func(c *cli.Context) error {
			var names []string
			if c.NArg() > 0 {
				name, err := o.oneName(c)
				if err != nil {
					return err
				}
				names = []string{name}
			} else if d.Simulate {
				return usage("NAME is missing: lifeline doctor --simulate NAME")
			}
			o.name = "" // messages are about all names
			d.Guard, d.Crontab, d.Found = o.guard, o.crontab, printFindings(c.App.Writer, colours(os.Stdout))
			n := d.Examine(c.Context, names)
			for _, other := range d.Others {
				faults, isSeen, err := ask(c.Context, c.App.Writer, other)
				n += faults
				switch {
				case err == nil && !isSeen:
					d.Unseen = append(d.Unseen, strings.TrimSpace(other.User+"'s "+other.Name))
				case err != nil:
					d.Rest = append(d.Rest, strings.TrimSpace(fmt.Sprintf("%s sees the rest (%v): sudo -u %s lifeline doctor %s",
						other.User, err, other.User, other.Name)))
				}
			}
			switch n {
			case 0:
				if names := d.Unseen; len(names) > 0 {
					fmt.Fprintf(c.App.Writer,
						"nothing is wrong, but nothing shows yet that cron starts %s: look again after its next tick\n",
						strings.Join(names, ", "))
					return nil
				}
				if len(d.Rest) > 0 {
					fmt.Fprintf(c.App.Writer, wellAsSeen+"%s can see; %s\n", userName(),
						strings.Join(d.Rest, "; "))
					return nil
				}
				fmt.Fprintln(c.App.Writer, allIsWell)
				return nil
			case 1:
				fmt.Fprintln(c.App.Writer, "one thing is wrong")
			default:
				fmt.Fprintf(c.App.Writer, "%d things are wrong\n", n)
			}
			return &codeError{1, ""}
		},
	}
}

// The words in which doctor finds nothing: at all, and as far as the user can see.
const (
	allIsWell  = "all is well"
	wellAsSeen = "nothing is wrong that "
)

// ask prints what doctor finds as another user, whose names these are.
func ask(ctx context.Context, out io.Writer, other doctor.Other) (faults int, isSeen bool, err error) {
	for _, a := range accounts() {
		if a.name == other.User {
			return a.examine(ctx, out, other.Name)
		}
	}
	return 0, false, errors.New("the user has no uid of their own here")
}

// printFindings returns a function that prints each finding under its name.
func printFindings(out io.Writer, colour bool) func(doctor.Finding) {
	heading := ""
	return func(f doctor.Finding) {
		if f.Name != heading {
			heading = f.Name
			fmt.Fprintln(out, heading)
		}
		mark, shade := "ok   ", "32"
		if f.Wrong {
			mark, shade = "WRONG", "31"
		}
		if colour {
			mark = "\x1b[" + shade + "m" + mark + "\x1b[0m"
		}
		fmt.Fprintf(out, "%s  %s: %s\n", mark, f.What, f.Text)
		if f.Advice != "" {
			fmt.Fprintf(out, "       -> %s\n", f.Advice)
		}
	}
}

// understand parses the line as lifeline would if cron started it: with the
// crontab's variables instead of the caller's.
func understand(l install.Line) (doctor.Start, error) {
	defer cronVariables(l)()
	o := new(options)
	argv := append([]string{"lifeline"}, l.Argv[1:]...)
	var command []string
	app := newApp(o, argv)
	app.Action = func(c *cli.Context) (err error) {
		if command, err = o.command(argv, c.Args().Slice(), false); err == nil {
			err = o.checkOutput()
		}
		if err == nil {
			err = o.checkCluster(c)
		}
		if err == nil {
			err = o.checkUser()
		}
		if err == nil {
			if _, err = process.SetUser(&o.sup.Conditions, o.user, o.group); err != nil {
				err = usage("--user, --group: %v", err)
			}
		}
		return err
	}
	for _, c := range app.Commands {
		c.Action = func(c *cli.Context) error {
			return usage("it is `lifeline %s`, and cron is to start `lifeline %s -- COMMAND`, which guards",
				c.Command.Name, l.Name)
		}
	}
	err := app.RunContext(context.Background(), permute(argv, app.Commands))
	if err == nil && command == nil {
		err = usage("no command is started by it")
	}
	return doctor.Start{Guard: o.guard, Command: command, Env: o.sup.Env, EnvFile: o.envFile, Chdir: o.sup.Chdir,
		ReloadOnChange: o.sup.ReloadOnChange, Conditions: o.sup.Conditions, Log: o.out.log.Path, Jitter: o.jitter,
		Cluster: o.cluster.URL, ClusterPrefix: o.cluster.Prefix, PingURL: o.out.setup.PingURL}, err
}

// cronVariables replaces this process's LIFELINE_ variables by those of the crontab,
// until back is called.
func cronVariables(l install.Line) (back func()) {
	old := map[string]string{}
	set := func(name string) {
		if value, ok := os.LookupEnv(name); ok {
			old[name] = value
		}
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "LIFELINE_") {
			set(name)
			_ = os.Unsetenv(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Environment)) {
		if strings.HasPrefix(name, "LIFELINE_") {
			_ = os.Setenv(name, l.Environment[name])
		}
	}
	return func() {
		for name := range l.Environment {
			if strings.HasPrefix(name, "LIFELINE_") {
				_ = os.Unsetenv(name)
			}
		}
		for name, value := range old {
			_ = os.Setenv(name, value)
		}
	}
}
