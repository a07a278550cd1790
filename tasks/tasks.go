// Package tasks runs a command line, and maps errors to exit codes.
//
//	func main() { os.Exit(tasks.Main(context.Background(), os.Args)) }
//
// A program with a command line of its own adds the three commands of Define:
//
//	app := &cli.App{Commands: tasks.Define("billing", bill)}
package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2" // flags, subcommands and help; built with the tag urfave_cli_no_docs
	"golang.org/x/sys/unix"

	"lifeline/internal/cluster/address"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/logger"
	"lifeline/internal/process"
	"lifeline/internal/supervisor"
)

// Main runs the whole program for argv, and returns the exit code.
func Main(ctx context.Context, argv []string) int {
	if logger.Is() {
		return logger.Main()
	}
	if len(argv) > 1 && answered(argv) {
		return 0
	}
	argv = commandFirst(argv)
	if err := refuseReserved(argv); err != nil {
		return exitCode(os.Stderr, "", 0, err)
	}
	var opts options
	app := newApp(&opts, argv)
	err := app.RunContext(ctx, permute(argv, app.Commands))
	return exitCode(os.Stderr, opts.name, opts.conflictCode, err)
}

func newApp(o *options, argv []string) *cli.App {
	app := &cli.App{
		Name:           "lifeline",
		Usage:          "one instance of a command, kept alive by cron",
		UsageText:      "lifeline [options] NAME -- COMMAND [ARG...]\nlifeline COMMAND [options] NAME...",
		Flags:          append(flags(o.table()), cli.HelpFlag),
		Action:         o.guarded,
		Commands:       commands(argv),
		ExitErrHandler: func(*cli.Context, error) {}, // one place maps errors to codes: exitCode
		OnUsageError:   usageErrorOf(argv),
		Writer:         os.Stdout,
		ErrWriter:      os.Stderr,
	}
	useHelp(app)
	return app
}

// subcommands are the words that can't be names of instances.
var subcommands = []string{"run", "terminate", "pause", "resume", "restart", "reload", "signal", "ping", "takeover",
	"status", "history", "check", "metrics", "logs", "doctor", "install", "uninstall", "disable", "enable", "forget",
	"import", "report", "start", "move", "runs", "drain", "undrain", "ticks", "help", "h"}

func commands(argv []string) []*cli.Command {
	list := []*cli.Command{runCommand(argv), terminateCommand(), pauseCommand(), resumeCommand(), restartCommand(),
		reloadCommand(), signalCommand(), pingCommand(), takeoverCommand(), statusCommand(), historyCommand(),
		checkCommand(), metricsCommand(), logsCommand(), doctorCommand(), installCommand(argv), uninstallCommand(),
		disableCommand(), enableCommand(), forgetCommand(), importCommand(), reportCommand(), startCommand(),
		moveCommand(), runsCommand(), drainCommand(), undrainCommand(), ticksCommand(), helpCommand()}
	for _, c := range list {
		c.OnUsageError = usageErrorOf(argv)
		if c.Name == "check" {
			c.OnUsageError = func(c *cli.Context, err error, sub bool) error {
				return unknown(usageErrorOf(argv)(c, err, sub))
			}
		}
	}
	return list
}

// usageError is the error for a wrong command line.
type usageError struct{ Text string }

func (e *usageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// usageErrorOf rewrites urfave/cli's errors, such as `invalid value "5" for flag -wait:
// parse error`, as lifeline's.
func usageErrorOf(argv []string) cli.OnUsageErrorFunc {
	return func(c *cli.Context, err error, _ bool) error {
		var own *usageError
		if errors.As(err, &own) {
			return own
		}
		text := err.Error()
		if rest, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
			return noOption(c, argv, strings.TrimPrefix(rest, "-"))
		}
		if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
			typed := human.ShellLine(append([]string{"lifeline"}, argv[1:]...))
			return usage("--%s: its value is missing: %s VALUE", strings.TrimPrefix(name, "-"), typed)
		}
		value, rest, ok := strings.Cut(strings.TrimPrefix(text, "invalid value "), " for flag -")
		if !ok {
			return usage("%s; see lifeline help", text)
		}
		name, why, _ := strings.Cut(rest, ": ")
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		return usage("%s: %s", strings.TrimSpace("--"+name+" "+value), why)
	}
}

// refuseReserved refuses `lifeline status -- COMMAND`, whose NAME is a subcommand's.
func refuseReserved(argv []string) error {
	if len(argv) >= 2 && argv[1] == "--" {
		return usage("NAME is missing before --: lifeline [options] NAME -- COMMAND")
	}
	if len(argv) >= 3 && argv[2] == "--" && (argv[1] == "install" || argv[1] == "run") {
		return usage("NAME is missing before --: lifeline %s NAME -- %s", argv[1], human.ShellLine(argv[3:]))
	}
	if len(argv) >= 3 && argv[2] == "--" && slices.Contains(subcommands, argv[1]) {
		return reserved(argv[1])
	}
	return nil
}

// reserved returns the error for a name that is a subcommand's: `lifeline NAME --
// COMMAND` would run the subcommand.
func reserved(name string) error {
	return usage("%q is the name of a subcommand: give the instance another name", name)
}

// The exit codes, in one place.
const (
	exitUsage      = 64  // the command line is wrong
	exitOwn        = 125 // lifeline itself failed, and nothing was started
	exitNotRunning = 3   // LSB's code for status
	// 124 is package supervisor's, 126 and 127 are package process's, 128+n is the signal's
)

// exitCode prints err, unless it is an ordinary tick's, and returns its exit code.
func exitCode(w io.Writer, name string, conflict int, err error) int {
	var (
		held  *guard.HeldError
		bad   *guard.NameError
		wrong *usageError
		exec  *process.ExecError
		end   *supervisor.EndError
		code  *codeError
	)
	switch {
	case err == nil, errors.Is(err, guard.ErrPaused):
		return 0
	case errors.As(err, &held):
		return conflict // silent: this is what most ticks find
	case errors.As(err, &end):
		if end.Text != "" {
			say(w, name, end.Text)
		}
		return end.Code
	case errors.As(err, &code):
		if code.text != "" {
			say(w, name, code.text)
		}
		return code.code
	case errors.As(err, &exec):
		say(w, name, err.Error())
		return exec.Code
	case errors.As(err, &bad), errors.As(err, &wrong):
		say(w, "", err.Error())
		return exitUsage
	}
	say(w, name, err.Error()+remedy(err))
	return exitOwn
}

// remedy returns what to do about a file system's error whose text has no remedy yet.
func remedy(err error) string {
	text := err.Error()
	if strings.Contains(text, "; ") {
		return ""
	}
	where := "."
	if at := strings.Index(text, "/"); at >= 0 { // the file that it is about
		where, _, _ = strings.Cut(text[at:], " ")
		where = strings.TrimRight(where, ":,")
		if info, err := os.Stat(where); err != nil || !info.IsDir() {
			where = filepath.Dir(where)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "; free some space there: df -h " + where
	case errors.Is(err, unix.EROFS):
		return `; make it writable: mount -o remount,rw "$(findmnt -no TARGET -T ` + where + `)"`
	case errors.Is(err, fs.ErrPermission):
		return "; do it as its owner or as root: ls -ld " + where
	}
	return ""
}

// codeError is an exit code with its message; "" for a silent exit.
type codeError struct {
	code int
	text string
}

func (e *codeError) Error() string { return e.text }

// say writes one message line, without secrets.
func say(w io.Writer, name, text string) {
	prefix := "lifeline: "
	if name != "" {
		prefix += name + ": "
	}
	text = address.Scrub(strings.ReplaceAll(text, "\n", " "), os.Args)
	_, _ = io.WriteString(w, prefix+text+"\n")
}
