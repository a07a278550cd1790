package tasks

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Manual writes lifeline(1), in the macros of man(7). The commands and options
// are those of the program; date is what stands at the foot. It is for a
// program that is run at build time: nothing of it is linked into lifeline.
func Manual(w io.Writer, date string) error {
	m := &roff{w: w}
	app := newApp(new(options), nil)
	m.line(`.TH LIFELINE 1 "` + date + `" lifeline "User Commands"`)
	m.section("NAME")
	m.text("lifeline - " + app.Usage)
	m.section("SYNOPSIS")
	m.synopsis("lifeline [OPTIONS] NAME -- COMMAND [ARG...]")
	for _, c := range app.Commands {
		synopsis, _, _ := strings.Cut(c.UsageText, "\n\n")
		for line := range strings.Lines(synopsis) {
			m.line(".br")
			m.synopsis(strings.TrimSpace(line))
		}
	}
	for _, part := range manualParts {
		m.section(part.title)
		m.paragraphs(part.text)
		switch part.title {
		case "COMMANDS":
			for _, c := range app.Commands {
				m.command(c)
			}
		case "OPTIONS":
			m.options(new(options).table(), ".SS")
		case "EXIT STATUS":
			for _, code := range exitCodes() {
				m.item(code[0], code[1])
			}
		}
	}
	return m.err
}

// exitCodes is the table of the manual: what exitCode, package supervisor and
// package process give.
func exitCodes() [][2]string {
	return [][2]string{
		{"0", "done; or another instance runs (-E gives another code for that), or the name is paused"},
		{"1", "doctor has found something, a reload has failed, a ping got no answer"},
		{strconv.Itoa(exitNotRunning), "status, restart, reload: it isn't running"},
		{"4", "status: that can't be told"},
		{strconv.Itoa(exitUsage), "the command line is wrong; nothing was started"},
		{"124", "--max-runtime ran out"},
		{strconv.Itoa(exitOwn), "lifeline itself failed; nothing was started"},
		{"126", "COMMAND can't be executed"},
		{"127", "COMMAND was not found"},
		{"128+N", "COMMAND was ended by signal N"},
		{"else", "COMMAND's own"},
	}
}

var manualParts = []struct{ title, text string }{
	{"DESCRIPTION", `Cron starts lifeline every minute. If an instance of NAME runs, lifeline exits at once, silently. If not, it runs COMMAND in the foreground, for as long as COMMAND lives. So cron, which every Unix has and which never dies, is the only thing that has to stay alive. The same guard keeps a periodic job from overlapping itself.

Two promises rule everything else: never two instances of one name at once, and never none for longer than until the next tick.

NAME is 1 to 128 letters, digits and . _ - : @ +, and begins with a letter or digit. Names belong to a user, a machine and a state directory. A subcommand's name can't be an instance's.

The crontab is the registry: there is no configuration file.`},
	{"COMMANDS", `Options of a command may stand before or behind its names; those of a COMMAND to be started stand before NAME.`},
	{"OPTIONS", `Those of lifeline NAME -- COMMAND. A TIME has a unit: 500ms, 30s, 5m, 2h. Each option also reads the variable LIFELINE_<OPTION>, which --env-file, say, has as LIFELINE_ENV_FILE.`},
	{"EXIT STATUS", `The check has codes of its own, those of Nagios: 0, 1, 2 and 3.`},
	{"ENVIRONMENT", `A worker finds LIFELINE_NAME, LIFELINE_ID (its generation), LIFELINE_SPACE (the state directory) and LIFELINE_SUPERVISOR (pid and start of its lifeline). LIFELINE_FD is a socket on which it may talk to its supervisor. With --notify or --watchdog it finds NOTIFY_SOCKET, with --watchdog also WATCHDOG_USEC. With --listen it finds LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, as under systemd, and SERVER_STARTER_PORT. With --cluster it finds LIFELINE_FENCE, and in a scheduled run LIFELINE_TICK.

lifeline knows a worker by these variables: a worker that wipes them is known by its open run file, cgroup or parent.`},
	{"CHECKS", `A program that knows no sd_notify(3) is watched from outside. --ready-check says when it is ready: it is asked at once, and again after pauses that double up to --check-interval. --health-check is asked every --check-interval while the command is up; after --check-failures in a row the command is ended by SIGABRT, as by --watchdog.

CHECK is a shell command, and exit code 0 is a success; or tcp://HOST:PORT, where a connection is one; or http://HOST:PORT/PATH, where an answer with a code from 200 to 399 is one. A command runs as the worker's user and in its directory, finds the worker's pid in LIFELINE_WORKER, and belongs to no worker's tree. What it prints on standard error is shown. In a reload the old generation may be the one that answers an address; a command can tell by LIFELINE_WORKER.

--max-memory is the limit of the whole tree. Where the worker's cgroup has the memory controller, the kernel keeps it. Elsewhere the tree is weighed every ten seconds, pages that its processes share counted once. The command gets the stop signal then, and with --respawn a new one starts at once.`},
	{"USER AND LIMITS", `With --user and --group, root's lifeline starts the command as another user: with that user's supplementary groups, and HOME, USER and LOGNAME of the account. A number needs no account, but --group then. The supervisor, its hooks and the logger stay root's. With install --cron-d, --user is the user field of the line, and lifeline runs as that user too.

--limit takes the names of prlimit(1). --nice and --oom-score-adj set absolute values. Only root may raise a hard limit, or lower the other two; where that is refused, the command isn't started.`},
	{"OUTPUT AND HOOKS", `Without --log, --quiet and --ping-url the worker has lifeline's own standard output and error. With one of them, or with a hook, a second process stands beside lifeline: the logger, which ps(1) shows as lifeline-clerk. It writes the log, runs the hooks, and has the pings sent by lifeline-remote. It ends when no process can print any more. With --log, both streams go into one file in the order in which they were printed; with --quiet alone, each goes where it would have gone.

FILE is rotated to FILE.1, FILE.2 and so on, between lines. With --log-compress, gzip(1) makes FILE.2.gz of FILE.2, and lifeline logs reads both. Where FILE is a symbolic link, what it leads to is written and rotated, and the link stays. --log-to sends each line to a syslog, beside --log or instead of it. When logrotate has moved a log, the logger opens a new one within a second. When it can't write the log, lifeline says so once, the worker goes on, and a line in the log says later how much is missing.

A hook is run by /bin/sh, with the standard output and error of lifeline, and finds in its environment LIFELINE_NAME, LIFELINE_EVENT (start, success, failure, skip), LIFELINE_RUN (an id), LIFELINE_WORKER (a pid), LIFELINE_STARTED, LIFELINE_ENDED, LIFELINE_SECONDS, LIFELINE_CODE, LIFELINE_SIGNAL, LIFELINE_REASON (if lifeline ended it), LIFELINE_COMMAND, and LIFELINE_LOG_FILE; one of --on-skip also LIFELINE_SKIPPED. Two kinds of runs are neither a success nor a failure: those that were asked to end (terminate, restart, reload), and those whose supervisor was killed, because their exit code can't be known. Hooks run one after the other; lifeline waits for them before it ends, but the name is free by then.

--ping-url: URL/start, then URL/CODE with the last 10 kB of output, or URL/log for a run that was asked to end; all of a run have the same rid. They are tried again for about a minute.`},
	{"FILES", `The state directory is /run/lifeline for root (/var/run/lifeline on other systems than Linux), ~/.local/state/lifeline/MACHINE-ID for others, and /var/tmp/lifeline-UID where the home isn't theirs or isn't local. It must belong to the caller and be closed to others. In it each NAME has files whose names begin with NAME: .lock and .run guard it. Sockets have 12 digits and .ctl or .clk as their names. You never need to remove any of them. While the instance runs, lifeline puts the lock file and the run file back when they are removed.

What must survive a reboot is in the directory of --state-dir: for root /var/lib/lifeline (/var/db/lifeline on other systems than Linux), unless --dir is given; for others the state directory. There .state and .history say how NAME went, .paused keeps it down, .log leads to its log, .cluster holds the highest fence seen. Where that directory can't be written, the journal stays in the state directory. --state-group lets a group read it, by mode 2750; lifeline check --state-dir and lifeline status --state-dir then tell its members how other users' names stand. lifeline forget NAME removes what is left of a name.`},
	{"ORPHANS AND LEFTOVERS", `An orphan is a worker whose supervisor was killed. By default it lives on: the next tick adopts it, watches over it, and passes on what lifeline terminate and lifeline signal ask for. Its exit code can't be known then, and LIFELINE_FD is lost to it. With --orphans terminate it gets the stop signal when its supervisor is killed, and the next tick ends what lives of it and starts a new one. With --cluster that is always so, because an orphan's lease has ended.

Leftovers are processes that a worker left running when it ended. By default they are ended: the stop signal, then SIGKILL after --kill-after. --leftovers keep lets them live. --leftovers follow takes them for the instance: use it for a program that puts itself into the background.`},
	{"NOTES", `Under cron, output is mail, and Debian's cron keeps it in an unnamed file until the job ends: give a daemon --log, or let it write a log of its own.

The supervisor leaves the directory that it was started in, which can be unmounted then; the command starts there. With --cluster it stays, because lifeline-remote may read files from there.

A unix socket of --listen has a second name beside it, .NAME.lifeline, by which a removed socket file is put back at once.

What can't be promised: a second copy starts when a worker has closed its descriptors and wiped its environment, its supervisor was killed, and the state directory was wiped. The same holds for a worker of root's that closed its descriptors and became another user. Other users, other machines, and containers with a pid namespace of their own have names of their own. A program that hangs but lives is an instance, unless --watchdog watches it. Without cron there is no recovery.`},
	{"EXAMPLES", `A daemon that stays up:

    lifeline install --respawn web -- /srv/web/server --port 8080

A job that never overlaps itself and has ten minutes:

    lifeline install --schedule '*/5 * * * *' --max-runtime 10m report -- /usr/local/bin/report

Down for the night:

    lifeline pause web --for 8h && lifeline terminate web

Why doesn't it run?

    lifeline doctor web`},
	{"SEE ALSO", `crontab(1), crontab(5), cron(8), flock(1), sd_notify(3)`},
}

// roff writes the macros; the first error stays.
type roff struct {
	w   io.Writer
	err error
}

func (m *roff) line(s string) {
	if m.err == nil {
		_, m.err = fmt.Fprintln(m.w, s)
	}
}

// escape keeps text what it is: a hyphen that is typed, a backslash, and a dot
// or quote that would begin a line.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	for i := 0; i < len(s); i++ {
		if s[i] < 0x80 {
			continue
		}
		// Not ASCII: groff_char(7).
		var out strings.Builder
		for _, r := range s {
			if r < 0x80 {
				out.WriteRune(r)
			} else {
				fmt.Fprintf(&out, `\[u%04X]`, r)
			}
		}
		s = out.String()
		break
	}
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

func (m *roff) section(title string) { m.line(".SH " + title) }

func (m *roff) text(s string) { m.line(escape(s)) }

func (m *roff) synopsis(s string) {
	m.line(`\fB` + escape("lifeline") + `\fR` + escape(strings.TrimPrefix(s, "lifeline")))
}

func (m *roff) item(what, says string) {
	m.line(".TP")
	m.line(`\fB` + escape(what) + `\fR`)
	m.text(says)
}

// paragraphs are separated by blank lines; one that is indented is typed.
func (m *roff) paragraphs(text string) {
	for i, p := range strings.Split(text, "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, "    "):
			m.line(".PP\n.RS 4\n.nf\n" + escape(strings.TrimPrefix(p, "    ")) + "\n.fi\n.RE")
		default:
			if i > 0 {
				m.line(".PP")
			}
			m.text(strings.Join(strings.Fields(p), " "))
		}
	}
}

func (m *roff) command(c *cli.Command) {
	m.line(`.SS "` + escape(strings.Join(append([]string{c.Name}, c.Aliases...), ", ")) + `"`)
	synopsis, rest, _ := strings.Cut(c.UsageText, "\n\n")
	for i, line := range strings.Split(synopsis, "\n") {
		if i > 0 {
			m.line(".br")
		}
		m.synopsis(line)
	}
	m.line(".PP")
	m.text(sentence(c.Usage) + ".")
	if rest != "" {
		m.line(".PP")
		m.paragraphs(rest)
	}
	// What it shares with the program itself is said there.
	table := optionsOf(c.Flags)
	all := new(options).table()
	own := slices.DeleteFunc(slices.Clone(table), func(o *option) bool { return len(table) > 12 && find(all, o.name) != nil })
	m.options(own, "")
	if len(own) < len(table) {
		m.line(".PP")
		m.text("And those under OPTIONS that are about the command.")
	}
}

func (m *roff) options(table []*option, macro string) {
	for _, heading := range headings(table) {
		if macro != "" && heading != "" {
			m.line(macro + ` "` + escape(heading) + `"`)
		}
		for _, o := range table {
			if o.group == heading {
				m.item(o.typed(), sentence(o.means())+".")
			}
		}
	}
}
