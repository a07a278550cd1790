package tasks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/guard"
	"lifeline/internal/journal"
	"lifeline/internal/logger"
	"lifeline/internal/logger/output"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// outputOptions are the options about the worker's output, hooks and pings.
type outputOptions struct {
	log       output.Log
	setup     logger.Setup
	onSkip    string
	skipAfter int
	client    *logger.Client // nil: no logger is needed
}

func (o *options) outputOptions() []*option {
	s := &o.out.setup
	return []*option{
		{name: "log", value: "FILE", group: aboutOutput, to: text(&o.out.log.Path),
			usage: "write what the command prints to this file"},
		{name: "log-max-size", value: "SIZE", group: aboutOutput, to: sizeOf(&o.out.log.MaxSize, 10<<20),
			usage: "begin a new file at this size, such as 500k, 10M or 1G; 0 for never"},
		{name: "log-keep", value: "N", group: aboutOutput, to: number(&o.out.log.Keep, 5).from(0, 10000),
			usage: "keep N old files; FILE.1 is the newest"},
		{name: "log-compress", group: aboutOutput, to: toggle(&o.out.log.Compress),
			usage: "compress old files with gzip, but for the newest of them"},
		{name: "log-mode", value: "MODE", group: aboutOutput, to: set(o.out.setLogMode), preset: "0640, less the umask",
			usage: "give the file this mode, in octal"},
		{name: "log-to", value: "WHERE", group: aboutOutput, to: set(o.out.setSyslog),
			usage: "send what the command prints to syslog, or to the syslog socket unix:///PATH; " +
				"standard error as errors"},
		{name: "timestamps", group: aboutOutput, to: toggle(&s.Stamps), usage: "put the time before each line"},
		{name: "quiet", group: aboutOutput, to: toggle(&s.Quiet),
			usage: "show what the command prints only if it fails"},
		{name: "on-start", value: "COMMAND", group: aboutOutput, to: text(&s.OnStart),
			usage: "run this shell command after a start"},
		{name: "on-success", value: "COMMAND", group: aboutOutput, to: text(&s.OnSuccess),
			usage: "run this shell command after a success"},
		{name: "on-failure", value: "COMMAND", group: aboutOutput, to: text(&s.OnFailure),
			usage: "run this shell command after a failure"},
		{name: "on-skip", value: "COMMAND", group: aboutOutput, to: text(&o.out.onSkip),
			usage: "run this shell command when ticks find the instance still running"},
		{name: "on-skip-after", value: "N", group: aboutOutput, to: number(&o.out.skipAfter, 0).from(1, math.MaxInt),
			preset: "1", usage: "run it once for every N such ticks"},
		{name: "hook-timeout", value: "TIME", group: aboutOutput, to: duration(&s.HookTimeout, time.Minute),
			usage: "end such a command after TIME"},
		{name: "ping-url", value: "URL", group: aboutOutput, to: text(&s.PingURL),
			usage: "tell healthchecks.io or the like; @FILE reads the URL from a file"},
	}
}

func (o *outputOptions) setLogMode(text string) error {
	mode, err := strconv.ParseUint(text, 8, 16)
	if err != nil || mode == 0 || mode > 0o777 {
		return errors.New("not an octal mode such as 0640")
	}
	o.log.Mode = fs.FileMode(mode)
	return nil
}

func (o *outputOptions) setSyslog(text string) (err error) {
	o.setup.Syslog, err = output.SyslogAddress(text)
	return err
}

// byteSize is a number of bytes.
type byteSize struct{ at *int64 }

func sizeOf(at *int64, standard int64) *byteSize {
	*at = standard
	return &byteSize{at}
}

func (s *byteSize) Set(text string) error {
	digits := strings.TrimRight(text, "kKMGiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, known := map[string]int{"": 0, "B": 0, "k": 10, "K": 10, "kB": 10, "KiB": 10, "M": 20, "MB": 20, "MiB": 20,
		"G": 30, "GB": 30, "GiB": 30}[text[len(digits):]]
	if err != nil || !known || n < 0 || n > 1<<62>>shift {
		return errors.New("not a size such as 500k, 10M or 1G")
	}
	*s.at = n << shift
	return nil
}

func (s *byteSize) String() string {
	if s.at == nil {
		return ""
	}
	for _, unit := range []struct {
		name  string
		shift int
	}{{"G", 30}, {"M", 20}, {"k", 10}} {
		if n := *s.at; n > 0 && n%(1<<unit.shift) == 0 {
			return strconv.FormatInt(n>>unit.shift, 10) + unit.name
		}
	}
	return strconv.FormatInt(*s.at, 10)
}

// checkOutput refuses options that can't go together.
func (o *options) checkOutput() error {
	out := &o.out
	s := &out.setup
	switch {
	case s.Stamps && out.log.Path == "" && !s.Quiet:
		return usage("--timestamps goes with --log or --quiet")
	case out.skipAfter > 0 && out.onSkip == "":
		return usage("--on-skip-after %d: what is to be run then? give --on-skip COMMAND", out.skipAfter)
	case o.exec && (s.Quiet || s.PingURL != "" || s.OnStart+s.OnSuccess+s.OnFailure != ""):
		return usage("--exec: no supervisor stays that could tell how it ended; leave out --exec, or --quiet, " +
			"--on-start, --on-success, --on-failure and --ping-url")
	case s.PingURL != "" && !isURL(s.PingURL) && (s.PingURL[0] != '@' || len(s.PingURL) == 1):
		return usage("--ping-url: neither an address that begins with https:// (or http://) nor @FILE")
	}
	return nil
}

func isURL(s string) bool {
	return (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")) && !strings.ContainsAny(s, " \t\r\n")
}

// prepareOutput turns the options into the logger's setup, once it is certain that
// the worker will be started.
func (o *options) prepareOutput(argv []string) error {
	s := &o.out.setup
	s.Name = o.name
	s.Vars = []string{"LIFELINE_COMMAND=" + strings.Join(argv, " ")}
	s.Dir, _ = os.Getwd()
	if o.guard.Dir != "" { // for hooks that call lifeline
		s.Vars = append(s.Vars, "LIFELINE_DIR="+o.guard.Dir)
	}
	if path := o.out.log.Path; path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("cannot tell the log's full path: %w", err)
		}
		o.out.log.Path = path
		if err := o.out.log.Check(); err != nil {
			return err
		}
		s.Log = &o.out.log
		s.Vars = append(s.Vars, "LIFELINE_LOG_FILE="+path)
	}
	if s.PingURL == "" {
		return nil
	}
	s.PingURL = strings.Clone(s.PingURL)
	hideSecret(s.PingURL)
	if file, ok := strings.CutPrefix(s.PingURL, "@"); ok {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot read --ping-url: %w", err)
		}
		if s.PingURL = strings.TrimSpace(string(text)); !isURL(s.PingURL) {
			return usage("--ping-url @%s: what stands there is not an address that begins with https:// (or http://)",
				file)
		}
	}
	var err error
	if s.Remote, err = cluster.Find(); err != nil {
		var missing *cluster.MissingError
		if errors.As(err, &missing) {
			err = fmt.Errorf("%s is neither in %s nor on PATH: install it there (it comes with lifeline; from source: "+
				"make build)", cluster.Program, missing.Beside)
		}
		o.warn("no pings are sent: %v", err)
		s.PingURL = ""
	}
	return nil
}

// attend starts a logger if the output options need one, and sends it the job's
// events. generation is the generation of a worker that already lives.
func (o *options) attend(place logger.Place, job *supervisor.Job, generation string) error {
	if err := o.prepareOutput(job.Argv); err != nil {
		return err
	}
	s := o.out.setup
	if !s.Needed() {
		return nil
	}
	client, err := logger.Open(place, s, supervisor.Environ(nil), o.warn)
	if err != nil && place != (logger.Place{}) { // without a FIFO the worker can still run
		o.warn("%v: should this lifeline be killed, the output is written nowhere", err)
		client, err = logger.Open(logger.Place{}, s, supervisor.Environ(nil), o.warn)
	}
	if err != nil {
		return err
	}
	o.out.client = client
	job.Stdio, job.Helpers = client.Stdio(), client.Helpers
	others, known := job.Events, generation
	job.Events.State = func(now supervisor.Snapshot) {
		if others.State != nil {
			others.State(now)
		}
		if now.Generation != known && !now.Ready.IsZero() && !now.Worker.Zero() {
			known = now.Generation
			client.Started(journal.Run{Generation: now.Generation, PID: now.Worker.PID, Start: now.Began})
		}
	}
	job.Events.EndsFirst = s.KeepsApart()
	job.Events.Ended = func(r journal.Run) {
		if others.Ended != nil {
			others.Ended(r)
		}
		if r.Generation != known && r.Ready != nil { // the run ended before its start was reported
			client.Started(journal.Run{Generation: r.Generation, PID: r.PID, Start: r.Start})
		}
		if r.Outcome == journal.Timeout {
			r.Code = supervisor.ExitTimeout // lifeline's exit code
		}
		client.Ended(r)
	}
	return nil
}

// attendHold calls attend for a supervisor that holds the name.
func (o *options) attendHold(hold *guard.Hold, job *supervisor.Job, generation string) error {
	fifo, socket := hold.Output()
	o.out.setup.Trouble = o.guard.PingTrouble(o.name)
	if text := logger.Untold(o.out.setup.Trouble); text != "" && o.out.setup.PingURL != "" {
		o.warn("after the run before, %s", text)
	}
	o.out.setup.Failed = hold.FailedOutput()
	if err := o.attend(logger.Place{FIFO: fifo, Socket: socket}, job, generation); err != nil {
		return err
	}
	if err := hold.SetLog(o.out.log.Path); err != nil && o.out.log.Path != "" {
		o.warn("lifeline logs %s won't find the log: %v", o.name, err)
	}
	return nil
}

// dismiss waits for hooks. The name is already free, so ticks may start. The logger
// sends pings by itself. dismiss waits for pings only as pid 1 of a container or in a
// systemd service, where the logger would end with lifeline.
func (o *options) dismiss() {
	c, s := o.out.client, &o.out.setup
	if c == nil {
		return
	}
	limit := 5 * time.Second
	if s.OnStart+s.OnSuccess+s.OnFailure != "" {
		if limit += 2 * (s.HookTimeout + 2*time.Second); s.HookTimeout == 0 {
			limit = 24 * time.Hour
		}
	}
	pings := s.PingURL != "" && (os.Getpid() == 1 || os.Getenv("INVOCATION_ID") != "") // systemd.exec(5)
	if pings {
		limit += 4 * time.Minute
	}
	c.Close(limit, pings)
}

// skipped counts a tick that found an instance running, and runs --on-skip at every
// Nth of them (--on-skip-after).
func (o *options) skipped(_ context.Context, err error) {
	var held *guard.HeldError
	if o.out.onSkip == "" || !errors.As(err, &held) {
		return
	}
	n, err := o.guard.CountSkipped(o.name, held)
	if err != nil {
		o.warn("--on-skip: %v", err)
		return
	}
	if n%max(o.out.skipAfter, 1) != 0 {
		return
	}
	r := journal.Run{Generation: held.Generation, PID: held.Worker.PID, Skipped: n}
	if since, command := procscan.Describe(held.Worker); command != "" {
		r.Start = since
	}
	vars := logger.Facts(o.name, "skip", r)
	if o.guard.Dir != "" {
		vars = append(vars, "LIFELINE_DIR="+o.guard.Dir)
	}
	if err := logger.RunHook(o.out.onSkip, "", append(supervisor.Environ(nil), vars...), o.out.setup.HookTimeout,
		os.Stdout, os.Stderr); err != nil {
		o.warn("--on-skip: %v", err)
	}
}
