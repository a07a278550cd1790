package journal

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Writer writes state and history in a goroutine of its own, so that a slow or
// full disk delays no caller.
type Writer struct {
	state, history string
	warn           func(format string, args ...any)

	mu         sync.Mutex
	s          State
	dirty      bool
	runs       []Run
	closing    bool
	wake       chan struct{}
	done       chan struct{}
	complained bool
}

// maxWaiting is the number of runs that Writer keeps for a disk that takes no
// writes.
const maxWaiting = 1000

// Open starts a Writer. It takes over the totals and the last run from the files,
// and writes the end of a run whose supervisor was killed.
func Open(state, history string, s State, booted time.Time, warn func(format string, args ...any)) *Writer {
	s.Version = Version
	s.Command = short(s.Command)
	w := &Writer{state: state, history: history, warn: warn, s: s, wake: make(chan struct{}, 1),
		done: make(chan struct{})}
	if old, err := ReadState(state); err == nil {
		w.s.Totals, w.s.Last, w.s.LastSuccess = old.Totals, old.Last, old.LastSuccess
		if old.Started != nil && old.State != Ended && (s.Generation == "" || s.Generation != old.Generation) {
			w.Run(lost(old, s.Boot, booted))
		}
	}
	go w.write()
	return w
}

// The states that more than one package writes or asks for.
const (
	Running = "running"
	Ended   = "ended" // a supervisor that has ended as it should
)

// lost makes a run of a worker whose supervisor was killed or went down with the
// machine. The end of the run is unknown. lost takes the latest possible time: now,
// or the boot of the machine.
func lost(old State, boot string, booted time.Time) Run {
	r := Run{Start: *old.Started, End: time.Now(), Ready: old.Ready, Generation: old.Generation,
		Outcome: Lost, Code: -1,
		Why: "its supervisor was killed", Supervisor: old.Supervisor.PID}
	if old.Worker != nil {
		r.PID = old.Worker.PID
	}
	if old.Boot != boot {
		r.Why = "the machine went down"
		if booted.After(r.Start) && booted.Before(r.End) {
			r.End = booted
		}
	}
	return r
}

// short limits the length of a command line.
func short(argv []string) []string {
	out, left := make([]string, 0, len(argv)), 4096
	for _, arg := range argv {
		if len(arg) > left {
			return append(out, arg[:left]+"…")
		}
		left -= len(arg) + 1
		out = append(out, arg)
	}
	return out
}

// State applies change to the state and has it written. It returns at once.
func (w *Writer) State(change func(*State)) {
	w.mu.Lock()
	change(&w.s)
	w.dirty = true
	w.mu.Unlock()
	w.poke()
}

// Run adds a run to the history, and to the totals. It returns at once.
func (w *Writer) Run(r Run) {
	w.mu.Lock()
	if len(w.runs) < maxWaiting {
		w.runs = append(w.runs, r)
	}
	t := &w.s.Totals
	t.Runs++
	t.Skipped += r.Skipped
	switch r.Outcome {
	case OK:
		t.OK++
		end := r.End
		w.s.LastSuccess = &end
	case Stopped:
		t.Stopped++
	default:
		t.Failed++
	}
	w.s.Last = &r
	w.dirty = true
	w.mu.Unlock()
	w.poke()
}

func (w *Writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close writes what is left, and waits up to a second until it is written.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.poke()
	select {
	case <-w.done:
	case <-time.After(time.Second):
	}
}

func (w *Writer) write() {
	defer close(w.done)
	for range w.wake {
		w.gather()
		w.mu.Lock()
		runs, s, dirty, closing := w.runs, w.s, w.dirty, w.closing
		w.runs, w.dirty = nil, false
		w.mu.Unlock()
		for i, r := range runs {
			if err := appendRun(w.history, r); err != nil {
				w.trouble("history", w.history, err)
				w.mu.Lock()
				w.runs = append(runs[i:len(runs):len(runs)], w.runs...) // tried again with the next change
				w.mu.Unlock()
				break
			}
		}
		if dirty {
			if err := writeState(w.state, s); err != nil {
				w.trouble("state", w.state, err)
			}
		}
		if closing {
			return
		}
	}
}

// gatherTime is how long a change waits for the next change, so that the state of
// a short command is written once.
const gatherTime = 20 * time.Millisecond

// gather waits gatherTime for further changes. Close ends the wait.
func (w *Writer) gather() {
	for late := time.After(gatherTime); ; {
		w.mu.Lock()
		closing := w.closing
		w.mu.Unlock()
		if closing {
			return
		}
		select {
		case <-w.wake:
		case <-late:
			return
		}
	}
}

// trouble warns of the first error, but not of a full disk, because under cron
// that would be a mail for each run. `lifeline doctor` reports a full disk.
func (w *Writer) trouble(what, path string, err error) {
	if w.complained || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return
	}
	w.complained = true
	w.warn("cannot write the %s %s: %v; it runs on without", what, path, err)
}
