package tasks

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/doctor"
	"lifeline/internal/journal"
	"lifeline/internal/report"
	"lifeline/internal/supervisor"
)

// reportOptions are the options of report.
type reportOptions struct {
	out      string
	every    time.Duration
	noOutput bool
	fleet    string
	cluster  bool
}

func reportCommand() *cli.Command {
	var o options
	var r reportOptions
	return &cli.Command{
		Name:  "report",
		Usage: "write a page to look at",
		UsageText: "lifeline report [options] --out FILE\n\nThe page is one HTML file: any web server or file share " +
			"shows it, and it asks for nothing else. What is wrong stands first, then each name with its runs of the " +
			"last day and week. It is replaced as a whole, and takes at most 1 MB.\n\nlifeline install --report FILE " +
			"has cron write it every minute.\n\nThe page shows commands and what failed runs printed: keep it from " +
			"those who aren't to see that, or give --no-output.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "out", short: "o", value: "FILE", to: text(&r.out),
				usage: "replace this file as a whole; its mode is 0644, less the umask"},
			{name: "every", value: "TIME", to: duration(&r.every, 5*time.Minute).atLeast(time.Second),
				usage: "tell the page how often it is written: it says that it is old after twice as long"},
			{name: "no-output", to: toggle(&r.noOutput), usage: "leave out what failed runs printed"},
			{name: "fleet", value: "DIRECTORY", to: text(&r.fleet), noEnv: true,
				usage: "show many machines: each FILE.json there is what lifeline status --json printed " +
					"on the machine FILE"}},
			o.clusterToggles(&r.cluster, "show all nodes of the cluster, and what they share (--share-status)")),
		Action: func(c *cli.Context) error {
			if !r.cluster {
				if err := o.noCluster(); err != nil {
					return err
				}
			}
			switch {
			case c.NArg() > 0 && !r.cluster:
				return usage("report takes no argument, but %q was given: it shows every name", c.Args().First())
			case r.out == "":
				return usage("--out FILE is missing: lifeline report --out FILE")
			case r.fleet != "" && r.cluster:
				return usage("--fleet and --cluster make two pages: leave one out")
			case r.fleet != "" || r.cluster:
				for _, p := range append(o.lookOptions(), &option{name: "no-output"}) {
					if c.IsSet(p.name) && os.Getenv(p.env()) == "" {
						return usage("--%s has no effect with --fleet and --cluster, which show what other "+
							"machines tell; leave it out", p.name)
					}
				}
			}
			giveWay()
			page, err := o.pageOf(c.Context, r, c.Args().Slice())
			if err != nil {
				return err
			}
			return replaceFile(r.out, "the page", 0o644&^umaskOf(), page.HTML())
		},
	}
}

// umaskOf returns the process's umask, which can only be read by setting it.
func umaskOf() os.FileMode {
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	return os.FileMode(mask)
}

func (o *options) pageOf(ctx context.Context, r reportOptions, args []string) (*report.Page, error) {
	switch {
	case r.fleet != "":
		return fleetPage(r)
	case r.cluster:
		return o.clusterPage(r, args)
	}
	return o.page(ctx, r)
}

// giveWay lowers the priority, so that ticks and workers go before the page. Linux
// has a priority for each thread (setpriority(2)), and a new thread inherits it.
func giveWay() {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, 10)
		}
	}
	if len(threads) == 0 {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 10)
	}
}

// page returns the page of this machine: one census, and doctor's findings. Each
// history is read once.
func (o *options) page(ctx context.Context, r reportOptions) (*report.Page, error) {
	// Histories are read and dropped one after the other. A garbage collection at each
	// would take as long as the reading.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	at := time.Now()
	list, err := o.stand(ctx, nil)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	p := &report.Page{Host: or(host, "an unnamed machine"), Written: at, Every: r.every, NoOutput: r.noOutput}
	g := gathering{at: at, list: list, histories: make([]*report.History, len(list)), paths: make([]string, len(list)),
		of: map[string]int{}}
	for i := range list {
		if _, history, err := list[i].guard.Journal(list[i].Name); err == nil {
			g.paths[i], g.of[history] = history, i
		}
	}
	cron := "runs" // unless a finding says something else
	d := doctor.Doctor{Guard: o.guard, Crontab: o.crontab, Understand: understand,
		ReadEnvFile: readEnvFile, Follows: true,
		NoOutput: r.noOutput, History: g.read, Found: func(f doctor.Finding) {
			switch {
			case f.Word == "paused" && slices.ContainsFunc(list, func(s instanceStatus) bool {
				return s.Name == f.Name &&
					s.PausedUntil != nil
			}):
				// A pause with an end isn't forgotten, and the state shows it.
			case f.Wrong:
				p.Wrong = append(p.Wrong, report.Wrong{Name: f.Name, What: or(f.Word, f.What),
					Text: f.Text, Advice: f.Advice})
			case f.What == "cron":
				cron = f.Text
			}
			if f.Wrong && f.What == "cron" {
				cron = "doesn't run"
			}
		}}
	d.Examine(ctx, nil)
	for i, path := range g.paths {
		if g.histories[i] == nil && path != "" { // a history that doctor didn't read
			_, _ = g.read(path)
		}
	}
	p.Facts = []report.Fact{{Name: "Load", Value: load()}, {Name: "Cron", Value: cron},
		{Name: "User", Value: userName()}}
	p.Facts = slices.DeleteFunc(p.Facts, func(f report.Fact) bool { return f.Value == "" })
	for i := range list {
		n := list[i].onPage()
		n.History = g.histories[i]
		if !r.noOutput && n.Failing != nil {
			n.Output = list[i].failedOutput()
		}
		p.Names = append(p.Names, n)
	}
	p.Sort()
	return p, nil
}

// gathering turns each history into what the page shows of it. Doctor asks in the
// order of the names, so the next histories are read while doctor examines the last.
// Only those are kept in memory.
type gathering struct {
	at        time.Time
	list      []instanceStatus
	histories []*report.History
	paths     []string       // of the histories, in the order of list
	of        map[string]int // the index in list of a history's path

	last  *reading
	ahead []*reading // of the names that come next
}

// readAhead is how many histories are read at a time, to keep two cores busy.
const readAhead = 2

// reading is a history that is being read.
type reading struct {
	path    string
	runs    []journal.Run
	err     error
	history *report.History
	done    chan struct{}
}

func (g *gathering) begin(path string) *reading {
	r := &reading{path: path, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.runs, r.err = journal.ReadHistory(path)
		if i, known := g.of[path]; known {
			s := &g.list[i]
			r.history = report.NewHistory(r.runs, s.UpSince, g.at, s.Totals.Runs <= len(r.runs))
		}
	}()
	return r
}

func (g *gathering) read(path string) ([]journal.Run, error) {
	if g.last != nil && g.last.path == path {
		return g.last.runs, g.last.err
	}
	var r *reading
	if len(g.ahead) > 0 && g.ahead[0].path == path {
		r, g.ahead = g.ahead[0], g.ahead[1:]
	} else {
		r, g.ahead = g.begin(path), nil
	}
	i, known := g.of[path]
	for next := i + 1 + len(g.ahead); known && len(g.ahead) < readAhead && next < len(g.paths); next++ {
		g.ahead = append(g.ahead, g.begin(g.paths[next]))
	}
	<-r.done
	if known {
		g.histories[i] = r.history
	}
	g.last = r
	return r.runs, r.err
}

// onPage returns the status as the page shows it.
func (s *instanceStatus) onPage() report.Name {
	n := report.Name{
		Name: s.label(), Kind: s.kind(), State: s.stateText(), Since: s.UpSince, Command: strings.Join(s.Command, " "),
		Schedule: s.Schedule,
		Last:     s.Last, LastOK: s.LastSuccess, Failing: s.Failing, Status: s.Status,
		Problem: s.Problem, Processes: s.Processes,
		Memory: s.Memory,
		CPU:    s.CPU, Supervised: s.Running, Restarts: s.Restarts, Reloads: s.Reloads, Node: s.Node, Totals: s.Totals,
	}
	if !s.Paused {
		n.Next = s.NextTick
	}
	if s.NextStart != nil {
		n.Next = s.NextStart
	}
	switch {
	case s.State == statePaused:
		n.Since = s.PausedSince
	case n.Since == nil && !s.Running && s.Last != nil:
		n.Since = &s.Last.End
	}
	return n
}

// failedOutput returns the end of the last failed run's output; nil if no logger has
// kept it.
func (s *instanceStatus) failedOutput() *journal.Output {
	path, err := s.guard.FailedOutput(s.Name)
	if err != nil {
		return nil
	}
	o, err := journal.ReadOutput(path)
	if err != nil {
		return nil
	}
	return &o
}

// kind returns the page's kind for the state.
func (s *instanceStatus) kind() report.Kind {
	switch {
	case s.Failing != nil || s.Problem != "":
		return report.KindBad
	case s.Paused:
		return report.KindPaused
	case s.State == supervisor.StateRunning || s.State == supervisor.StateReady || s.State == supervisor.StateReloading:
		return report.KindUp
	case s.Running:
		return report.KindBusy
	}
	return report.KindIdle
}

// load returns the machine's load averages; "" if they are unknown.
func load() string {
	text, err := os.ReadFile("/proc/loadavg") // proc(5)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return ""
	}
	return fmt.Sprintf("%s, %s, %s in 1, 5 and 15 minutes", fields[0], fields[1], fields[2])
}
