package tasks

import (
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/process"
	"lifeline/internal/supervisor"
)

// options holds what the command line sets: the structs of the guard, supervisor,
// cluster and logger, and the few options of this package.
type options struct {
	name         string
	guard        guard.Guard
	sup          supervisor.Options
	conflictCode int
	replace      bool
	orphans      string
	exec         bool
	envFile      string
	jitter       time.Duration
	verbose      bool
	cluster      cluster.Options
	out          outputOptions
	user, group  string    // the command's user and group; "" for lifeline's own
	left         string    // the working directory that the supervisor has left; "" for none
	crontab      string    // the file of --crontab; "" for crontab(1)
	own          []*option // the subcommand's options; nil for the guard's
}

// The headings of the options in the help.
const (
	aboutGuard   = "The guard"
	aboutStart   = "The command"
	aboutSup     = "The supervisor"
	aboutReload  = "Sockets and hot reload"
	aboutCluster = "The cluster"
	aboutOutput  = "What it prints, and who is told"
)

// table returns the options of `lifeline NAME -- COMMAND`.
func (o *options) table() []*option {
	return slices.Concat(o.dirOptions(), o.guardOptions(), o.clusterOptions(), o.workerOptions())
}

// dirOptions returns the options that choose the namespace.
func (o *options) dirOptions() []*option {
	return []*option{
		{name: "dir", value: "DIRECTORY", group: aboutGuard, to: text(&o.guard.Dir), preset: "by user",
			usage: "use this state directory, a namespace of its own"},
		{name: "allow-nfs", group: aboutGuard, to: toggle(&o.guard.AllowNFS),
			usage: "use it even on a network file system"},
		{name: "state-dir", value: "DIRECTORY", group: aboutGuard, to: text(&o.guard.StateDir),
			preset: "that of --dir; else /var/lib/lifeline for root",
			usage:  "keep journals and pauses here, which survive a reboot"},
	}
}

func (o *options) guardOptions() []*option {
	return []*option{
		{name: "state-group", value: "GROUP", group: aboutGuard, to: text(&o.guard.Group),
			usage: "let this group read journals and pauses, for lifeline check --state-dir"},
		{name: "conflict-exit-code", short: "E", value: "N", group: aboutGuard,
			to:     number(&o.conflictCode, 0).from(0, 255),
			preset: "0",
			usage:  "exit with N when another instance runs; 75 is the custom"},
		{name: "wait", value: "TIME", group: aboutGuard, to: duration(&o.guard.Wait, 0),
			usage: "wait up to TIME for the name"},
		{name: "standby", group: aboutGuard, to: toggle(&o.guard.Standby), usage: "wait for the name until it is free"},
		{name: "replace", group: aboutGuard, to: toggle(&o.replace), usage: "end the running instance, then start"},
		{name: "orphans", value: "POLICY", group: aboutGuard, to: oneOf(&o.orphans, "adopt", "terminate"),
			usage: "adopt or terminate a worker whose supervisor was killed", preset: "adopt"},
		{name: "leftovers", value: "POLICY", group: aboutGuard,
			to:    oneOf(&o.sup.Leftovers, "terminate", "keep", "follow"),
			usage: "terminate, keep or follow processes that outlive the command", preset: "terminate"},
		{name: "jitter", value: "TIME", group: aboutGuard, to: duration(&o.jitter, 0),
			usage: "delay the start by up to TIME; one host and name always get the same delay"},
		{name: "verbose", short: "v", group: aboutGuard, to: toggle(&o.verbose), usage: "say who holds the name"},
		{name: "exec", group: aboutGuard, to: toggle(&o.exec),
			usage: "become the command; no supervisor stays in memory"},
	}
}

// workerOptions returns the options that `lifeline run` has as well.
func (o *options) workerOptions() []*option {
	return slices.Concat(o.outputOptions(), o.startOptions(), o.supervisorOptions(), o.reloadOptions())
}

func (o *options) startOptions() []*option {
	o.sup.Umask = -1
	return []*option{
		{name: "chdir", value: "DIRECTORY", group: aboutStart, to: text(&o.sup.Chdir),
			usage: "start the command in this directory"},
		{name: "env", value: "K=V", group: aboutStart, to: (*environment)(&o.sup.Env),
			usage: "set a variable (repeatable)"},
		{name: "env-file", value: "FILE", group: aboutStart, to: text(&o.envFile),
			usage: "read variables from this file, one K=V per line"},
		{name: "umask", value: "MODE", group: aboutStart, to: (*umask)(&o.sup.Umask),
			usage: "set the umask, in octal", preset: "unchanged"},
		{name: "user", value: "USER", group: aboutStart, to: text(&o.user),
			usage: "run the command as this user, with that user's groups (for root)"},
		{name: "group", value: "GROUP", group: aboutStart, to: text(&o.group),
			usage: "run it with this group (for root)"},
		{name: "limit", value: "NAME=N", group: aboutStart,
			to:    set(func(s string) error { return process.SetLimit(&o.sup.Conditions, s) }),
			usage: "set a resource limit, such as nofile=65536 or core=0:unlimited (soft:hard; repeatable)"},
		{name: "nice", value: "N", group: aboutStart, to: into(&o.sup.Nice, -20, 19), preset: "unchanged",
			usage: "set the niceness, from -20 to 19"},
		{name: "oom-score-adj", value: "N", group: aboutStart, to: into(&o.sup.OOM, -1000, 1000), preset: "unchanged",
			usage: "set how soon the kernel ends it when memory runs out, from -1000 to 1000 (Linux)"},
	}
}

func (o *options) supervisorOptions() []*option {
	return []*option{
		{name: "max-runtime", value: "TIME", group: aboutSup, to: duration(&o.sup.MaxRuntime, 0),
			usage: "end the command after TIME, with exit code 124"},
		{name: "stop-signal", value: "SIGNAL", group: aboutSup, to: &o.sup.StopSignal, preset: "TERM",
			usage: "the signal that asks the command to end"},
		{name: "kill-after", value: "TIME", group: aboutSup, to: duration(&o.sup.KillAfter, 10*time.Second),
			usage: "send SIGKILL at TIME after the stop signal"},
		{name: "kill-mode", value: "MODE", group: aboutSup, preset: "mixed",
			to: oneOf(&o.sup.KillMode, string(supervisor.Mixed), string(supervisor.ControlGroup)),
			usage: "who gets the stop signal: mixed (the main process; the rest after it has ended) or control-group " +
				"(all at once)"},
		{name: "max-memory", value: "SIZE", group: aboutSup, to: sizeOf(&o.sup.MaxMemory, 0),
			usage: "end the command when it and all that it has started use more than SIZE, such as 500M"},
		{name: "min-runtime", value: "TIME", group: aboutSup, to: duration(&o.sup.MinRuntime, 0),
			usage: "take a success before TIME for a failure"},

		{name: "respawn", group: aboutSup, to: toggle(&o.sup.Respawn), usage: "start the command again when it ends"},
		{name: "respawn-on", value: "END", group: aboutSup, to: oneOf(&o.sup.RespawnOn, "always", "failure"),
			preset: "always",
			usage:  "respawn always, or only after a failure"},
		{name: "respawn-delay", value: "TIME", group: aboutSup, to: duration(&o.sup.RespawnDelay, 5*time.Second),
			usage: "wait TIME before a respawn"},
		{name: "respawn-max-delay", value: "TIME", group: aboutSup, to: duration(&o.sup.RespawnMaxDelay, 0),
			preset: "no increase",
			usage:  "increase the delay up to TIME"},
		{name: "respawn-steps", value: "N", group: aboutSup, to: number(&o.sup.RespawnSteps, 8).from(0, math.MaxInt),
			usage: "reach the longest delay in N steps"},
		{name: "respawn-limit", value: "N/TIME", group: aboutSup, to: &o.sup.RespawnLimit, preset: "never",
			usage: "give up after N starts within TIME, until the next tick"},

		{name: "recycle-after", value: "TIME", group: aboutSup, to: &o.sup.Recycle,
			usage: "replace the command by a new one when it has run for TIME, such as 24h, or at a time of day, " +
				"such as 04:30; by a reload with --listen or --ready-by takeover"},

		{name: "notify", group: aboutSup, to: toggle(&o.sup.Notify),
			usage: "the command says READY=1 on NOTIFY_SOCKET (sd_notify)"},
		{name: "ready-timeout", value: "TIME", group: aboutSup, to: duration(&o.sup.ReadyTimeout, 90*time.Second),
			usage: "end the command when it isn't ready within TIME"},
		{name: "notify-access", value: "WHO", group: aboutSup, to: oneOf(&o.sup.NotifyAccess, "main", "exec", "all"),
			preset: "main",
			usage: "take messages from main (the main process), exec (also the process first executed) or all (the " +
				"whole tree)"},
		{name: "ready-by", value: "SIGN", group: aboutSup, to: oneOf(&o.sup.ReadyBy, "notify", "takeover", "time"),
			preset: "notify with --notify, else time",
			usage:  "what makes it ready: notify (READY=1), takeover (on LIFELINE_FD) or time (--ready-after)"},
		{name: "on-hup", value: "ACTION", group: aboutSup, to: oneOf(&o.sup.OnHUP, "stop", "pass", "reload"),
			preset: "pass with --respawn unless the terminal has gone, else stop",
			usage:  "what SIGHUP to lifeline does: stop, pass (on to the command) or reload"},
		{name: "watchdog", value: "TIME", group: aboutSup, to: duration(&o.sup.Watchdog, 0).atLeast(time.Millisecond),
			usage: "end the command when no WATCHDOG=1 has come for TIME"},
		{name: "ready-check", value: "CHECK", group: aboutSup, to: &o.sup.ReadyCheck,
			usage: "the command is ready when CHECK succeeds: a shell command, tcp://HOST:PORT or " +
				"http://HOST:PORT/PATH"},
		{name: "health-check", value: "CHECK", group: aboutSup, to: &o.sup.HealthCheck,
			usage: "end the command, as --watchdog does, when CHECK fails again and again"},
		{name: "check-interval", value: "TIME", group: aboutSup,
			to:    duration(&o.sup.CheckInterval, 10*time.Second).atLeast(time.Millisecond),
			usage: "look every TIME; --ready-check begins faster"},
		{name: "check-timeout", value: "TIME", group: aboutSup,
			to:    duration(&o.sup.CheckTimeout, 5*time.Second).atLeast(time.Millisecond),
			usage: "a look that takes longer has failed"},
		{name: "check-failures", value: "N", group: aboutSup, to: number(&o.sup.CheckFailures, 3).from(1, math.MaxInt),
			usage: "N failures of --health-check in a row end the command"},
	}
}

func (o *options) reloadOptions() []*option {
	return []*option{
		{name: "listen", value: "ADDRESS", group: aboutReload, to: &o.sup.Listen,
			usage: "open a socket and hand it over as LISTEN_FDS: [NAME=]tcp://HOST:PORT, udp://HOST:PORT, " +
				"unix:///PATH or unix://@NAME; ?nonblock, ?backlog=N, ?reuseport, ?mode=0660&owner=USER:GROUP " +
				"(repeatable)"},
		{name: "reload-timeout", value: "TIME", group: aboutReload, to: duration(&o.sup.ReloadTimeout, 60*time.Second),
			usage: "give up a reload when the new generation isn't ready within TIME"},
		{name: "reload-retries", value: "N", group: aboutReload,
			to:    number(&o.sup.ReloadRetries, 0).from(0, math.MaxInt),
			usage: "try a reload that has failed N times more, after 1s, 2s, 4s and so on"},
		{name: "ready-after", value: "TIME", group: aboutReload, to: duration(&o.sup.ReadyAfter, time.Second),
			usage: "without --notify, a new generation is ready after TIME"},
		{name: "reload-on-change", value: "FILE", group: aboutReload, to: text(&o.sup.ReloadOnChange),
			usage: "reload when this file has changed and been still for a moment"},
		{name: "settle", value: "TIME", group: aboutReload, to: duration(&o.sup.Settle, time.Second),
			usage: "a ready generation must live for TIME before the old one is ended"},
	}
}

// environment collects K=V.
type environment []string

func (e *environment) Set(s string) error {
	if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", s)
	}
	*e = append(*e, s)
	return nil
}

func (e *environment) String() string { return strings.Join(*e, " ") }

type umask int

func (u *umask) Set(s string) error {
	n, err := strconv.ParseUint(s, 8, 16)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not an octal mode such as 022", s)
	}
	*u = umask(n)
	return nil
}

func (u *umask) String() string { return "" }

// command takes NAME and COMMAND from args, the last words of argv. A wrong order is
// the most frequent mistake, so its errors show the right one.
func (o *options) command(argv, args []string, mayLack bool) ([]string, error) {
	form := "lifeline [options]"
	if o.own != nil { // a subcommand
		form = "lifeline " + argv[1]
	}
	before := argv[:len(argv)-len(args)]
	if len(args) == 0 {
		return nil, usage("NAME is missing: %s NAME -- COMMAND", form)
	}
	if n := len(before); n > 1 && before[n-1] == "--" { // an option took NAME for its value, or it was left out
		typed := human.ShellLine(append([]string{"lifeline"}, before[1:n-1]...))
		return nil, usage("NAME is missing before --: %s NAME -- %s", typed, human.ShellLine(args))
	}
	if err := guard.CheckName(args[0]); err != nil {
		return nil, err
	}
	if slices.Contains(subcommands, args[0]) {
		return nil, reserved(args[0])
	}
	o.name = args[0]
	if err := meantCommand(args); err != nil && o.own == nil {
		return nil, err
	}
	switch {
	case len(args) == 1 && mayLack:
		return nil, nil
	case len(args) == 1:
		return nil, usage("%s: the command is missing: %s %s -- COMMAND", o.name, form, o.name)
	case args[1] != "--" && strings.HasPrefix(args[1], "-"):
		return nil, usage("%s: options go before the name: %s", o.name, inOrder(argv, args, o.known()))
	case args[1] != "--":
		typed := human.ShellLine(append([]string{"lifeline"}, before[1:]...))
		return nil, usage("%s: -- is missing before the command: %s %s -- %s", o.name, typed,
			o.name, human.ShellLine(args[1:]))
	case len(args) == 2 || args[2] == "":
		return nil, usage("%s: there is no command after --", o.name)
	}
	return args[2:], nil
}

// known returns the options of this command line, for a hint.
func (o *options) known() []*option {
	if o.own == nil {
		return new(options).table()
	}
	return o.own
}

// inOrder returns the command line with the options before the name.
func inOrder(argv, args []string, table []*option) string {
	line := append([]string{"lifeline"}, argv[1:max(1, len(argv)-len(args))]...)
	var others []string
	for _, w := range words(args[1:], table) {
		if w.option != "" {
			line = append(line, w.text...)
		} else {
			others = append(others, w.text...)
		}
	}
	if len(others) == 0 {
		return human.ShellLine(append(line, args[0])) + " -- COMMAND"
	}
	if others[0] != "--" {
		others = append([]string{"--"}, others...)
	}
	return human.ShellLine(append(append(line, args[0]), others...))
}

// checkUser refuses --user and --group to users other than root.
func (o *options) checkUser() error {
	if o.user+o.group != "" && os.Geteuid() != 0 {
		return usage("--user, --group: only root can run a command as another user or group; put the line into " +
			"root's crontab, or leave the option out")
	}
	return nil
}

func (o *options) warn(format string, args ...any) {
	say(os.Stderr, o.name, fmt.Sprintf(format, args...))
}

// jitterOf returns a delay below d, always the same for a host and name.
func jitterOf(d time.Duration, name string) time.Duration {
	if d <= 0 {
		return 0
	}
	host, _ := os.Hostname()
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", host, name)
	return time.Duration(h.Sum64() % uint64(d))
}

// readEnvFile reads NAME=VALUE lines. It skips blank lines and lines that begin with
// #, and removes a pair of quotes around a value.
func readEnvFile(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read --env-file: %w", err)
	}
	var vars []string
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, usage("--env-file %s, line %d: %q is not NAME=VALUE", path, n, line)
		}
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		vars = append(vars, name+"="+value)
	}
	return vars, nil
}
