package tasks

import (
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"lifeline/internal/probe"
	"lifeline/internal/supervisor"
)

// effect is a case in which an option can have no effect.
type effect struct {
	option string
	why    string // completes "--OPTION has no effect …"
	is     func(*options) bool
}

// effects has all such cases. Any other option works in every combination, or has
// a check of its own (checkOutput, checkCluster).
var effects = []effect{
	{"respawn-on", "without --respawn", noRespawn},
	{"respawn-delay", "without --respawn", noRespawn},
	{"respawn-max-delay", "without --respawn", noRespawn},
	{"respawn-limit", "without --respawn", noRespawn},
	{"recycle-after", "without --respawn", noRespawn},
	{"respawn-steps", "without --respawn and --respawn-max-delay",
		func(o *options) bool { return noRespawn(o) || o.sup.RespawnMaxDelay == 0 }},
	{"ready-timeout", "without --notify, --ready-check or --ready-by takeover", byTime},
	{"reload-timeout", "without --notify, --ready-check or --ready-by takeover: without them --ready-after decides",
		byTime},
	{"settle", "without --notify or --ready-check: without them --ready-after decides",
		func(o *options) bool { return !o.byNotify() && !readyCheck(o) }},
	{"ready-after", "with --notify, --ready-check or --ready-by takeover", func(o *options) bool { return !byTime(o) }},
	{"ready-check", "with --notify, where READY=1 decides", func(o *options) bool { return o.sup.Notify }},
	{"ready-check", ownSocket, func(o *options) bool { return o.opens(o.sup.ReadyCheck) }},
	{"health-check", ownSocket, func(o *options) bool { return o.opens(o.sup.HealthCheck) }},
	{"ready-by", "with --ready-check, which decides", readyCheck},
	{"check-interval", "without --ready-check or --health-check",
		func(o *options) bool { return !readyCheck(o) && !healthCheck(o) }},
	{"check-timeout", "without --ready-check or --health-check",
		func(o *options) bool { return !readyCheck(o) && !healthCheck(o) }},
	{"check-failures", "without --health-check", func(o *options) bool { return !healthCheck(o) }},
	{"ready-by", "without --notify, where it is notify",
		func(o *options) bool { return o.sup.ReadyBy == "notify" && !o.sup.Notify }},
	{"notify-access", "without --notify or --watchdog",
		func(o *options) bool { return !o.sup.Notify && o.sup.Watchdog == 0 }},
	{"log-keep", "without --log", noLog},
	{"log-mode", "without --log", noLog},
	{"log-compress", "without --log, a --log-max-size and a --log-keep of at least 2: FILE.1 stays as it is",
		func(o *options) bool {
			return noLog(o) || o.out.log.MaxSize == 0 || o.out.log.Keep < 2
		}},
	{"log-max-size", "without --log", noLog},
	{"wait", "with --standby, which waits for as long as it takes", func(o *options) bool { return o.guard.Standby }},
	{"conflict-exit-code", "with --standby, which waits for the name",
		func(o *options) bool { return o.guard.Standby }},
	{"hook-timeout", "without --on-start, --on-success, --on-failure or --on-skip", func(o *options) bool {
		s := &o.out.setup
		return s.OnStart+s.OnSuccess+s.OnFailure+o.out.onSkip == ""
	}},
	// The rest are tasks of the supervisor, and --exec leaves no supervisor.
	{"max-runtime", withExec, isExec},
	{"max-memory", withExec, isExec},
	{"min-runtime", withExec, isExec},
	{"respawn", withExec, isExec},
	{"notify", withExec, isExec},
	{"ready-by", withExec, isExec},
	{"watchdog", withExec, isExec},
	{"ready-check", withExec, isExec},
	{"health-check", withExec, isExec},
	{"listen", withExec, isExec},
	{"reload-on-change", withExec, isExec},
	{"ready-after", withExec, isExec},
	{"reload-retries", withExec, isExec},
	{"on-hup", withExec, isExec},
	{"stop-signal", withExec + ", or give --replace or --orphans terminate", execEndsNone},
	{"kill-after", withExec + ", or give --replace or --orphans terminate", execEndsNone},
	{"kill-mode", withExec + ", or give --replace or --orphans terminate", execEndsNone},
}

const ownSocket = "on a --listen socket: lifeline has opened it, so it takes connections whatever the command does; " +
	"give http:// or a shell command"

// opens reports whether the check t only connects to a socket that lifeline itself
// has opened.
func (o *options) opens(t probe.Target) bool {
	return slices.ContainsFunc(o.sup.Listen, func(s supervisor.Socket) bool { return t.OnlyConnects(s.Address) })
}

const withExec = "with --exec: no supervisor stays to carry it out; leave out --exec"

func noRespawn(o *options) bool { return !o.sup.Respawn }
func noLog(o *options) bool     { return o.out.log.Path == "" }
func isExec(o *options) bool    { return o.exec }
func byTime(o *options) bool {
	return !o.byNotify() && o.sup.ReadyBy != "takeover" && !readyCheck(o)
}
func readyCheck(o *options) bool  { return o.sup.ReadyCheck.Text != "" }
func healthCheck(o *options) bool { return o.sup.HealthCheck.Text != "" }
func execEndsNone(o *options) bool {
	return o.exec && !o.replace && o.orphans != "terminate"
}

// byNotify reports whether READY=1 makes the worker ready.
func (o *options) byNotify() bool {
	return o.sup.ReadyBy == "notify" || o.sup.ReadyBy == "" && o.sup.Notify
}

// checkEffects refuses options that can have no effect. An option from the
// environment passes, because a variable is for many command lines.
func (o *options) checkEffects(c *cli.Context) error {
	for _, e := range effects {
		if c.IsSet(e.option) && os.Getenv(variableOf(e.option)) == "" && e.is(o) {
			return usage("--%s has no effect %s", e.option, e.why)
		}
	}
	return nil
}
