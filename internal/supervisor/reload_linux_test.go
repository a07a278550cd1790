package supervisor

import (
	"bufio"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// duo is a world with two independent generations, each with its own notify socket and
// LIFELINE_FD.
type duo struct {
	*fake
	lines  []int // the workers' ends of LIFELINE_FD
	answer chan string
}

func (d *duo) init() {
	mine := func(t process.Tree) (pids []int) {
		for pid := range d.alive {
			if !slices.Contains(t.Not, d.id(pid)) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	d.l.sys.stop = func(t process.Tree, sig unix.Signal) (asked []procscan.ID) {
		d.did("%s %d", process.SignalName(sig), t.Root.PID)
		for _, pid := range mine(t) {
			asked = append(asked, d.id(pid))
			if !d.deaf[pid] {
				d.end(pid, unix.WaitStatus(sig))
			}
		}
		return asked
	}
	d.l.sys.stopMain = func(id procscan.ID, sig unix.Signal) {
		d.did("%s %d", process.SignalName(sig), id.PID)
		if d.alive[id.PID] && !d.deaf[id.PID] {
			d.end(id.PID, unix.WaitStatus(sig))
		}
	}
	d.l.sys.kill = func(t process.Tree) error {
		d.l.post(func() { // kill runs beside the loop
			d.did("kill %d", t.Root.PID)
			for _, pid := range mine(t) {
				d.end(pid, unix.WaitStatus(unix.SIGKILL))
			}
		})
		return nil
	}
	d.l.sys.members = func(t process.Tree) (ids []procscan.ID) {
		for _, pid := range mine(t) {
			ids = append(ids, d.id(pid))
		}
		return ids
	}
	d.l.sys.hear = func(string, func(int) bool) (receiver, error) {
		d.inbox = &fakeReceiver{c: make(chan struct{}, 1)}
		return d.inbox, nil
	}
	d.l.sys.line = func(w *worker) (int, error) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		w.line = &lineSocket{f: os.NewFile(uintptr(pair[0]), "line")}
		d.lines = append(d.lines, pair[1])
		return 0, err
	}
}

// word writes text on LIFELINE_FD for the newest generation.
func (d *duo) word(text string) {
	d.state()
	_, _ = unix.Write(d.lines[len(d.lines)-1], []byte(text+"\n"))
	d.l.post(func() {
		for _, w := range d.l.workers() {
			if w.line != nil {
				w.onLine()
			}
		}
	})
	d.state()
}

// heard returns what the newest generation was told on LIFELINE_FD.
func (d *duo) heard() string {
	d.state()
	var buf [64]byte
	n, _ := unix.Read(d.lines[len(d.lines)-1], buf[:])
	return string(buf[:max(n, 0)])
}

// ask sends verb as `lifeline VERB` does; the outcome is in answer.
func (d *duo) ask(verb string) {
	ours, theirs := net.Pipe()
	d.answer = make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(ours).ReadString('\n')
		ours.Close()
		d.answer <- strings.TrimSpace(line)
	}()
	d.l.control.requests <- &request{verb: verb, conn: theirs}
	d.state()
}

func (d *duo) ready() { d.state(); d.say(sdnotify.Message{Ready: true}); d.state() }

// pid returns the pid of the worker that counts, 0 for none.
func (d *duo) pid() int {
	d.state()
	if d.l.cur == nil {
		return 0
	}
	return d.l.cur.id.PID
}

var reloadOptions = Options{Respawn: true, RespawnDelay: 5 * time.Second, KillAfter: 10 * time.Second, Umask: -1,
	Notify: true, ReadyTimeout: 90 * time.Second, ReloadTimeout: time.Minute, ReadyAfter: time.Second, Settle: time.Second}

// TestReload tests a reload event by event. Each case begins with the old generation,
// pid 1001, up and the new generation, 1002, just started.
func TestReload(t *testing.T) {
	quiet := reloadOptions
	quiet.Notify = false
	once := reloadOptions
	once.Respawn = false
	hasty := reloadOptions
	hasty.ReloadTimeout = 2 * time.Second
	exit := func(d *duo, pid, code int) { d.state(); d.end(pid, unix.WaitStatus(code<<8)); d.state() }
	settled := func(d *duo) { d.ready(); d.sleep(time.Second) }
	taking := func(d *duo) { d.deaf[1001] = true; d.word("takeover") }

	for _, c := range []struct {
		name   string
		o      Options
		play   func(*duo)
		did    string // after the start of 1002; signals come first
		pid    int    // the worker that counts in the end
		answer string // its beginning, "" for none yet
	}{
		{"ready and settled: the old one may drain", reloadOptions, settled, "SIGTERM 1001", 1002,
			"ok pid 1002, after 1s"},
		{"not a moment before it has settled", reloadOptions,
			func(d *duo) { d.ready(); d.sleep(time.Second - early - 1) }, "", 1001, ""},
		{"without READY nothing is settled", reloadOptions, func(d *duo) { d.sleep(50 * time.Second) }, "", 1001, ""},
		{"without --notify: alive for --ready-after", quiet, func(d *duo) { d.sleep(time.Second) }, "SIGTERM 1001",
			1002, "ok pid 1002"},
		{"READY at the last moment: it may settle", hasty,
			func(d *duo) { d.sleep(1900 * time.Millisecond); d.ready(); d.sleep(time.Second) }, "SIGTERM 1001", 1002, "ok pid 1002"},
		{"a drain that takes too long", reloadOptions,
			func(d *duo) { d.deaf[1001] = true; settled(d); d.sleep(10 * time.Second) }, "SIGTERM 1001,kill " +
				"1001", 1002, "ok pid 1002"},

		{"it crashes: rolled back", reloadOptions, func(d *duo) { exit(d, 1002, 3) }, "", 1001,
			"error rolled back, the old one goes on: the new one exited with code 3"},
		{"it exits well: rolled back", reloadOptions, func(d *duo) { exit(d, 1002, 0) }, "", 1001,
			"error rolled back, the old one goes on: the new one: the command ended after 0s " +
				"without having said READY=1"},
		{"READY, and then it crashes", reloadOptions,
			func(d *duo) { d.ready(); d.sleep(time.Second / 2); exit(d, 1002, 3) }, "", 1001, "error rolled back"},
		{"it ends at the very moment it would have settled", reloadOptions, func(d *duo) {
			d.ready()
			d.sleep(time.Second - early - 1)
			delete(d.alive, 1002)
			d.ended = append(d.ended, process.Exit{PID: 1002, Status: 3 << 8}) // no SIGCHLD yet
			d.sleep(early + 1)
		}, "", 1001, "error rolled back"},
		{"it hangs", reloadOptions, func(d *duo) { d.sleep(time.Minute) }, "kill 1002", 1001,
			"error rolled back, the old one goes on: the new one: not ready within 1m0s"},
		{"a second reload meanwhile is ignored", reloadOptions, func(d *duo) { d.ask("reload") }, "", 1001,
			"error a reload is on its way already"},
		{"SIGUSR2 meanwhile is ignored", reloadOptions, func(d *duo) { d.signals <- unix.SIGUSR2 }, "", 1001, ""},

		{"the old one ends while the new one starts", reloadOptions, func(d *duo) { exit(d, 1001, 1); d.ready() }, "",
			1002, "ok pid 1002"},
		{"the old one ends while the new one settles", reloadOptions, func(d *duo) { d.ready(); exit(d, 1001, 1) }, "",
			1002, "ok pid 1002"},
		{"both end: a respawn, and no success", reloadOptions, func(d *duo) { exit(d, 1001, 1); exit(d, 1002, 4) }, "",
			0, "error it ended"},
		{"both end, and nothing is respawned", once, func(d *duo) { exit(d, 1001, 1); exit(d, 1002, 4) }, "",
			0, "error it ended"},
		{"a restart meanwhile: the new one is what it wanted", reloadOptions,
			func(d *duo) { d.ask("restart"); d.ready(); exit(d, 1002, 4) }, "SIGTERM 1001", 0, "ok pid 1002"},

		{"stop: both end", reloadOptions, func(d *duo) { d.signals <- unix.SIGTERM }, "SIGTERM 1001,SIGTERM 1002",
			0, "error given up"},
		{"stop twice: both are killed in their time", reloadOptions, func(d *duo) {
			d.deaf[1001], d.deaf[1002] = true, true
			d.signals <- unix.SIGTERM
			d.state()
			d.signals <- unix.SIGTERM
			d.sleep(10 * time.Second)
		}, "SIGTERM 1001,SIGTERM 1002,kill 1001,kill 1002", 0, "error"},
		{"with --notify, takeover is readiness, too", reloadOptions,
			func(d *duo) { d.word("takeover"); d.sleep(time.Minute + time.Second) }, "SIGTERM 1001", 1002, "ok pid 1002"},
		{"takeover said while all is being ended", reloadOptions, func(d *duo) {
			d.deaf[1002] = true
			d.signals <- unix.SIGTERM
			d.word("takeover")
			d.sleep(10 * time.Second)
		}, "SIGTERM 1001,SIGTERM 1002,kill 1002", 0, "error given up"},

		{"takeover: the old one first", reloadOptions, taking, "SIGTERM 1001", 1001, ""},
		{"takeover: when the old one is gone", reloadOptions, func(d *duo) { taking(d); exit(d, 1001, 0) },
			"SIGTERM 1001", 1002, "ok pid 1002"},
		{"takeover: a deaf old one is killed", reloadOptions, func(d *duo) { taking(d); d.sleep(10 * time.Second) },
			"SIGTERM 1001,kill 1001", 1002, "ok pid 1002"},
		{"takeover: the reload's time doesn't count any more", hasty,
			func(d *duo) { taking(d); d.sleep(9 * time.Second) }, "SIGTERM 1001", 1001, ""},
		{"takeover, then READY: nothing before the old one is gone", reloadOptions,
			func(d *duo) { taking(d); d.ready(); d.sleep(5 * time.Second) }, "SIGTERM 1001", 1001, ""},
		{"takeover, and the new one ends: the old one is started again", reloadOptions,
			func(d *duo) { taking(d); exit(d, 1002, 3); exit(d, 1001, 0) }, "SIGTERM 1001,start", 1003, "error failed when the old one was being ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			supervised(t, c.o, nil, func(f *fake) {
				d := &duo{fake: f}
				f.state()
				f.l.post(d.init)
				f.ready(c.o)
				d.ask("reload")
				if got := strings.Join(d.took(), ","); got != "start,start beside" || d.l.next == nil {
					t.Fatalf("did %q", got)
				}
				c.play(d)
				d.state()
				did := d.took()
				slices.Sort(did) // two trees are killed at the same time
				if got := strings.Join(did, ","); got != c.did {
					t.Errorf("did %q, not %q", got, c.did)
				}
				if got := d.pid(); got != c.pid {
					t.Errorf("pid %d counts, not %d", got, c.pid)
				}
				select {
				case got := <-d.answer:
					if c.answer == "" || !strings.HasPrefix(got, c.answer) {
						t.Errorf("answered %q, not %q", got, c.answer)
					}
				default:
					if c.answer != "" {
						t.Errorf("no answer; warned %q", d.warned)
					}
				}
				d.close()
			})
		})
	}
}

// ready brings the first worker up, which uses the fake's own notify socket.
func (f *fake) ready(o Options) {
	if o.Notify {
		f.say(sdnotify.Message{Ready: true})
	}
	f.state()
}

func (d *duo) close() {
	for _, fd := range d.lines {
		_ = unix.Close(fd)
	}
}

// TestTakeoverWord shows that "ok" goes out only when the old generation is gone.
func TestTakeoverWord(t *testing.T) {
	supervised(t, reloadOptions, nil, func(f *fake) {
		d := &duo{fake: f}
		f.state()
		f.l.post(d.init)
		f.ready(reloadOptions)
		f.deaf[1001] = true
		d.ask("reload")
		d.word("ping")
		if got := d.heard(); got != "pong\n" {
			t.Errorf("ping: heard %q", got)
		}
		d.word("takeover")
		d.word("takeover") // once more changes nothing
		d.ready()
		d.sleep(9 * time.Second)
		if got := d.heard(); got != "" {
			t.Errorf("heard %q while the old one lives", got)
		}
		d.sleep(time.Second)
		if got := d.heard(); got != "ok\n" {
			t.Errorf("heard %q when the old one is gone", got)
		}
		if s := d.state(); s != "up" || d.pid() != 1002 {
			t.Errorf("%s, pid %d", s, d.pid())
		}
		d.word("takeover") // no old generation is left
		if got := d.heard(); got != "ok\n" {
			t.Errorf("heard %q", got)
		}
		d.close()
	})
}

// TestReloadRefused shows that an impossible reload is refused, and that a reload
// without a worker is a start.
func TestReloadRefused(t *testing.T) {
	o := reloadOptions
	for _, c := range []struct {
		name  string
		enter func(*duo)
		want  string
	}{
		{"starting", func(d *duo) {}, "error the worker is still starting"},
		{"stopping", func(d *duo) { d.ready(); d.deaf[1001] = true; d.say(sdnotify.Message{Stopping: true}); d.state() }, "error the worker is being ended"},
		{"the end is wanted", func(d *duo) { d.ready(); d.deaf[1001] = true; d.signals <- unix.SIGTERM; d.state() },
			"error it is being ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			supervised(t, o, nil, func(f *fake) {
				d := &duo{fake: f}
				f.state()
				c.enter(d)
				f.took()
				d.ask("reload")
				if got := <-d.answer; got != c.want {
					t.Errorf("%q, not %q", got, c.want)
				}
				if got := f.took(); len(got) > 0 {
					t.Errorf("did %q", got)
				}
			})
		})
	}
	supervised(t, o, nil, func(f *fake) {
		d := &duo{fake: f}
		f.state()
		f.exit(1)
		if s := f.state(); s != "down" {
			t.Fatal(s)
		}
		d.ask("reload")
		d.ready()
		if got := <-d.answer; got != "ok pid 1002" {
			t.Errorf("nothing ran: %q", got)
		}
	})
	// The new code can't even be started.
	supervised(t, o, nil, func(f *fake) {
		d := &duo{fake: f}
		d.ready()
		f.startOK = &process.ExecError{Code: 125, Text: "cannot start a process: the limit is reached"}
		d.ask("reload")
		if got := <-d.answer; got != "error rolled back, the old one goes on: the new one: cannot start a process: "+
			"the limit is reached" {
			t.Error(got)
		}
		f.startOK = &process.ExecError{Code: 126, Text: "cannot execute ./x: permission denied"}
		d.ask("reload")
		if got := <-d.answer; got != "error rolled back, the old one goes on: the new one: cannot execute "+
			"./x: permission denied" {
			t.Error(got)
		}
		if s := f.state(); s != "up" || d.pid() != 1001 {
			t.Errorf("%s, pid %d", s, d.pid())
		}
	})
}

// TestTakeoverLate lets a generation say takeover after it counted as ready. The old
// generation drains already, and "ok" goes out when it is gone.
func TestTakeoverLate(t *testing.T) {
	o := reloadOptions
	o.Notify = false
	supervised(t, o, nil, func(f *fake) {
		d := &duo{fake: f}
		f.state()
		f.l.post(d.init)
		f.state()
		f.deaf[1001] = true
		d.ask("reload")
		d.sleep(2 * time.Second) // --ready-after
		d.word("takeover")
		if got := d.heard(); d.pid() != 1002 || got != "" {
			t.Errorf("pid %d; heard %q while the old one drains", d.pid(), got)
		}
		d.sleep(10 * time.Second)
		if got := d.heard(); got != "ok\n" {
			t.Errorf("heard %q when the old one is gone", got)
		}
		d.close()
	})
}

// TestReloadAfterTheEnd shows that a reload is an ordinary start when the old worker has
// just ended.
func TestReloadAfterTheEnd(t *testing.T) {
	o := reloadOptions
	o.Notify = false
	supervised(t, o, nil, func(f *fake) {
		f.state()
		f.took()
		f.l.post(func() {
			f.exit(1)
			f.l.onReload(nil)
		})
		f.sleep(10 * time.Second)
		if log := f.took(); !slices.Equal(log, []string{"start"}) {
			t.Errorf("it did %q, not one ordinary start", log)
		}
	})
}
