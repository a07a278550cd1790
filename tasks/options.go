package tasks

import (
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/internal/cluster"
	"lifeline/internal/guard"
	"lifeline/internal/process"
	"lifeline/internal/supervisor"
)

// options is what the command line fills: the guard's and the supervisor's
// own structs, and the few things that are decided here.
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
}

// The headings of the options in the help. They are empty unless help may be
// wanted: urfave/cli sorts options with regular expressions under theirs, at
// every start.
var catGuard, catStart, catSup, catReload, catCluster, catOut string

func headings() {
	catGuard, catStart, catSup, catReload = "The guard", "The command", "The supervisor", "Sockets and hot reload"
	catCluster, catOut = "The cluster", "What it prints, and who is told"
}

// flags of `lifeline NAME -- COMMAND`. Each also reads LIFELINE_<OPTION>.
func (o *options) flags() []cli.Flag {
	return append(append(o.dirFlags(), []cli.Flag{
		&cli.IntFlag{Name: "conflict-exit-code", Aliases: []string{"E"}, Category: catGuard, EnvVars: env("conflict-exit-code"), Destination: &o.conflictCode, Action: checkCode,
			Usage: "exit with `N` when another instance runs (75 is the custom)", DefaultText: "0"},
		&cli.DurationFlag{Name: "wait", Category: catGuard, EnvVars: env("wait"), Destination: &o.guard.Wait, Action: notNegative("wait"),
			Usage: "wait so `long` for the name to come free"},
		&cli.BoolFlag{Name: "standby", Category: catGuard, EnvVars: env("standby"), Destination: &o.guard.Standby, Usage: "wait for the name for as long as it takes"},
		&cli.BoolFlag{Name: "replace", Category: catGuard, EnvVars: env("replace"), Destination: &o.replace, Usage: "end the instance that runs, then start"},
		&cli.GenericFlag{Name: "orphans", Category: catGuard, EnvVars: env("orphans"), Value: &choice{&o.orphans, []string{"adopt", "terminate"}},
			Usage: "a worker whose supervisor was killed: adopt or terminate"},
		&cli.GenericFlag{Name: "leftovers", Category: catGuard, EnvVars: env("leftovers"), Value: &choice{&o.sup.Leftovers, []string{"terminate", "keep", "follow"}},
			Usage: "what outlives the command: terminate, keep or follow"},
		&cli.DurationFlag{Name: "jitter", Category: catGuard, EnvVars: env("jitter"), Destination: &o.jitter, Action: notNegative("jitter"),
			Usage: "start up to so `long` later, always the same for a host and name"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Category: catGuard, EnvVars: env("verbose"), Destination: &o.verbose, Usage: "say who holds the name"},
		&cli.BoolFlag{Name: "exec", Category: catGuard, EnvVars: env("exec"), Destination: &o.exec, Usage: "become the command: no supervisor stays in memory"},
	}...), append(o.clusterFlags(), o.workerFlags()...)...)
}

// dirFlags say which namespace is meant.
func (o *options) dirFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dir", Category: catGuard, EnvVars: env("dir"), Destination: &o.guard.Dir,
			Usage: "the state `directory`, a namespace of its own", DefaultText: "by user"},
		&cli.BoolFlag{Name: "allow-nfs", Category: catGuard, EnvVars: env("allow-nfs"), Destination: &o.guard.AllowNFS, Usage: "use it even on a network file system"},
	}
}

// workerFlags are those that `lifeline run` has as well.
func (o *options) workerFlags() []cli.Flag {
	o.sup.Umask = -1
	return append(o.outputFlags(), []cli.Flag{
		&cli.StringFlag{Name: "chdir", Category: catStart, EnvVars: env("chdir"), Destination: &o.sup.Chdir, Usage: "start it in this `directory`"},
		&cli.GenericFlag{Name: "env", Category: catStart, EnvVars: env("env"), Value: (*environment)(&o.sup.Env), Usage: "set a variable, `K=V` (repeatable)"},
		&cli.StringFlag{Name: "env-file", Category: catStart, EnvVars: env("env-file"), Destination: &o.envFile, Usage: "read variables from a `file`, a K=V a line"},
		&cli.GenericFlag{Name: "umask", Category: catStart, EnvVars: env("umask"), Value: (*umask)(&o.sup.Umask), Usage: "set the umask, octal", DefaultText: "unchanged"},

		&cli.DurationFlag{Name: "max-runtime", Category: catSup, EnvVars: env("max-runtime"), Destination: &o.sup.MaxRuntime, Action: notNegative("max-runtime"),
			Usage: "end it after so `long`; exit code 124"},
		&cli.GenericFlag{Name: "stop-signal", Category: catSup, EnvVars: env("stop-signal"), Value: signalOf(&o.sup.StopSignal), Usage: "the signal that asks it to end", DefaultText: "TERM"},
		&cli.DurationFlag{Name: "kill-after", Category: catSup, EnvVars: env("kill-after"), Value: 10 * time.Second, Destination: &o.sup.KillAfter, Action: notNegative("kill-after"),
			Usage: "kill it so `long` after that signal"},
		&cli.GenericFlag{Name: "kill-mode", Category: catSup, EnvVars: env("kill-mode"), Value: killModeOf(&o.sup.KillMode),
			Usage: "who gets that signal: mixed (the main process, the rest when it has ended) or control-group (all at once)", DefaultText: "mixed"},
		&cli.DurationFlag{Name: "min-runtime", Category: catSup, EnvVars: env("min-runtime"), Destination: &o.sup.MinRuntime, Action: notNegative("min-runtime"),
			Usage: "a success that comes sooner than so `long` is a failure"},

		&cli.BoolFlag{Name: "respawn", Category: catSup, EnvVars: env("respawn"), Destination: &o.sup.Respawn, Usage: "start it again when it ends"},
		&cli.GenericFlag{Name: "respawn-on", Category: catSup, EnvVars: env("respawn-on"), Value: &choice{(*string)(&o.sup.RespawnOn), []string{"always", "failure"}},
			Usage: "after which ends: always or failure", DefaultText: "always"},
		&cli.DurationFlag{Name: "respawn-delay", Category: catSup, EnvVars: env("respawn-delay"), Value: 5 * time.Second, Destination: &o.sup.RespawnDelay, Action: notNegative("respawn-delay"),
			Usage: "so `long` after its end"},
		&cli.DurationFlag{Name: "respawn-max-delay", Category: catSup, EnvVars: env("respawn-max-delay"), Destination: &o.sup.RespawnMaxDelay, Action: notNegative("respawn-max-delay"),
			Usage: "growing up to so `long`", DefaultText: "not growing"},
		&cli.IntFlag{Name: "respawn-steps", Category: catSup, EnvVars: env("respawn-steps"), Value: 8, Destination: &o.sup.RespawnSteps, Action: checkSteps, Usage: "in `N` steps"},
		&cli.GenericFlag{Name: "respawn-limit", Category: catSup, EnvVars: env("respawn-limit"), Value: &o.sup.RespawnLimit, Usage: "give up after so many starts, `N/TIME`, until the next tick", DefaultText: "never"},

		&cli.BoolFlag{Name: "notify", Category: catSup, EnvVars: env("notify"), Destination: &o.sup.Notify, Usage: "it says READY=1 on NOTIFY_SOCKET (sd_notify)"},
		&cli.DurationFlag{Name: "ready-timeout", Category: catSup, EnvVars: env("ready-timeout"), Value: 90 * time.Second, Destination: &o.sup.ReadyTimeout, Action: notNegative("ready-timeout"),
			Usage: "how `long` that may take"},
		&cli.GenericFlag{Name: "notify-access", Category: catSup, EnvVars: env("notify-access"),
			Value: &choice{(*string)(&o.sup.NotifyAccess), []string{"main", "exec", "all"}},
			Usage: "whose messages count: the main process's, also those of the process first executed, or all of the tree's", DefaultText: "main"},
		&cli.GenericFlag{Name: "ready-by", Category: catSup, EnvVars: env("ready-by"),
			Value: &choice{(*string)(&o.sup.ReadyBy), []string{"notify", "takeover", "time"}},
			Usage: "what makes it ready: notify (READY=1), takeover (on LIFELINE_FD) or time (--ready-after)", DefaultText: "notify with --notify, else time"},
		&cli.GenericFlag{Name: "on-hup", Category: catSup, EnvVars: env("on-hup"),
			Value: &choice{(*string)(&o.sup.OnHUP), []string{"stop", "pass", "reload"}},
			Usage: "what SIGHUP to lifeline does: stop, pass (on to the command) or reload", DefaultText: "pass with --respawn, else stop"},
		&cli.DurationFlag{Name: "watchdog", Category: catSup, EnvVars: env("watchdog"), Destination: &o.sup.Watchdog, Action: checkWatchdog,
			Usage: "end it when no WATCHDOG=1 has come for so `long`"},

		&cli.GenericFlag{Name: "listen", Category: catReload, EnvVars: env("listen"), Value: &o.sup.Listen, Usage: "open a socket and hand it over as LISTEN_FDS: [NAME=]tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unix://@NAME; ?nonblock, ?backlog=N, ?reuseport, ?mode=0660&owner=USER:GROUP (repeatable)"},
		&cli.DurationFlag{Name: "reload-timeout", Category: catReload, EnvVars: env("reload-timeout"), Value: 60 * time.Second, Destination: &o.sup.ReloadTimeout, Action: notNegative("reload-timeout"),
			Usage: "how `long` a new generation may take"},
		&cli.DurationFlag{Name: "ready-after", Category: catReload, EnvVars: env("ready-after"), Value: time.Second, Destination: &o.sup.ReadyAfter, Action: notNegative("ready-after"),
			Usage: "without --notify: alive for so `long` means ready"},
		&cli.StringFlag{Name: "reload-on-change", Category: catReload, EnvVars: env("reload-on-change"), Destination: &o.sup.ReloadOnChange, TakesFile: true,
			Usage: "reload when this `file` has changed and been still for a moment"},
		&cli.DurationFlag{Name: "settle", Category: catReload, EnvVars: env("settle"), Value: time.Second, Destination: &o.sup.Settle, Action: notNegative("settle"),
			Usage: "how `long` a ready one must live before the old one is ended"},
	}...)
}

// checkWatchdog refuses what no worker could keep to.
func checkWatchdog(_ *cli.Context, d time.Duration) error {
	if d < time.Millisecond {
		return usage("--watchdog %s: the period is at least 1ms", d)
	}
	return nil
}

func checkSteps(_ *cli.Context, n int) error {
	if n < 0 {
		return usage("--respawn-steps %d: it can't be negative", n)
	}
	return nil
}

func env(option string) []string {
	return []string{"LIFELINE_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))}
}

func killModeOf(m *supervisor.KillMode) *choice {
	return &choice{(*string)(m), []string{string(supervisor.Mixed), string(supervisor.ControlGroup)}}
}

func signalOf(s *process.Signal) *process.Signal { return s }

// choice is a flag with a few values.
type choice struct {
	at   *string
	from []string
}

func (c *choice) Set(s string) error {
	for _, v := range c.from {
		if s == v {
			*c.at = s
			return nil
		}
	}
	return fmt.Errorf("it is one of %s", strings.Join(c.from, ", "))
}

func (c *choice) String() string {
	if c.at == nil {
		return ""
	}
	return *c.at
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

func notNegative(name string) func(*cli.Context, time.Duration) error {
	return func(_ *cli.Context, d time.Duration) error {
		if d < 0 {
			return usage("--%s %s: a time can't be negative", name, d)
		}
		return nil
	}
}

func checkCode(_ *cli.Context, n int) error {
	if n < 0 || n > 255 {
		return usage("--conflict-exit-code %d: an exit code is 0 to 255", n)
	}
	return nil
}

// command takes NAME and COMMAND from the arguments. A wrong order is what
// people get wrong most: say it.
func (o *options) command(args []string, mayLack bool) ([]string, error) {
	if len(args) == 0 {
		return nil, usage("NAME is missing: lifeline [options] NAME -- COMMAND")
	}
	if err := guard.CheckName(args[0]); err != nil {
		return nil, err
	}
	o.name = args[0]
	if err := meantCommand(args); err != nil && !mayLack {
		return nil, err
	}
	switch {
	case len(args) == 1 && mayLack:
		return nil, nil
	case len(args) == 1:
		return nil, usage("%s: the command is missing: lifeline [options] %s -- COMMAND", o.name, o.name)
	case args[1] != "--" && strings.HasPrefix(args[1], "-"):
		return nil, usage("%s: options go before the name: lifeline %s %s -- COMMAND", o.name, args[1], o.name)
	case args[1] != "--":
		return nil, usage("%s: -- is missing before the command: lifeline %s -- %s", o.name, o.name, strings.Join(args[1:], " "))
	case len(args) == 2 || args[2] == "":
		return nil, usage("%s: there is no command after --", o.name)
	}
	return args[2:], nil
}

func (o *options) warn(format string, args ...any) {
	say(os.Stderr, o.name, fmt.Sprintf(format, args...))
}

// jitterOf spreads the starts of many hosts, always in the same way.
func jitterOf(d time.Duration, name string) time.Duration {
	if d <= 0 {
		return 0
	}
	host, _ := os.Hostname()
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", host, name)
	return time.Duration(h.Sum64() % uint64(d))
}

// readEnvFile reads NAME=VALUE lines; blank lines and those that begin with #
// are passed over, one pair of quotes around a value is taken off.
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
