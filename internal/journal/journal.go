// Package journal reads and writes the files that tell of a name on the day after.
// They have the present state of its supervisor, and how each run went.
//
//	w := journal.Open(state, history, journal.State{Name: "web", …}, warn)
//	w.State(func(s *journal.State) { s.State = "running" }) // returns at once
//	w.Run(journal.Run{…})
//	w.Close()
//
// A name has three such files, of mode 0600:
//
// KEY.state holds one JSON object, [State], replaced as a whole by rename(2). A
// reader always sees a complete state.
//
// KEY.output holds one JSON object, [Output], written by the logger.
//
// KEY.history holds one JSON object a line, [Run], the newest last. One call
// writes a line, after a line feed where the last line was torn. A reader skips
// what it can't parse, so a crash in the middle of a line costs that line. When
// the file becomes larger than 512 kB, its older half is removed.
//
// The guard decides by locks, the record and the process table, never by these
// files. A reader of State must check its pids against the process table, as
// `lifeline status` does.
package journal

import (
	"encoding/json" // readable by tools of other users
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lifeline/internal/statedir"
)

// Version is the version of the files' schema. Fields may be added under the same
// version; their meaning doesn't change.
const Version = 1

// Process names one process for as long as the machine is up.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
}

// State is the state of a name's supervisor when it last wrote.
type State struct {
	Version    int      `json:"version"`
	Name       string   `json:"name"`
	Command    []string `json:"command"`
	Boot       string   `json:"boot"` // the boot that the pids belong to
	Supervisor Process  `json:"supervisor"`
	// State is starting, running, ready, reloading, stopping, backing off,
	// standing by, waiting or ended.
	State      string     `json:"state"`
	Since      time.Time  `json:"since"` // of State
	Respawn    bool       `json:"respawn"`
	Notify     bool       `json:"notify"`
	Worker     *Process   `json:"worker,omitempty"`
	Generation string     `json:"generation,omitempty"`
	Started    *time.Time `json:"started,omitempty"`    // the worker's start
	Ready      *time.Time `json:"ready,omitempty"`      // when it was up
	NextStart  *time.Time `json:"next_start,omitempty"` // while backing off
	Restarts   int        `json:"restarts"`             // of this supervisor's workers
	Reloads    int        `json:"reloads"`
	Status     string     `json:"status,omitempty"` // the worker's STATUS=
	Lost       string     `json:"lost,omitempty"`   // what an adopter couldn't take up again
	Node       string     `json:"node,omitempty"`
	Fence      uint64     `json:"fence,omitempty"`
	SkippedAt  int64      `json:"skipped_at,omitempty"` // the length of the lock file, which counts ticks, at the start

	Last        *Run       `json:"last,omitempty"` // the last run that has ended
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Totals      Totals     `json:"totals"`
}

// LeftBehind begins the Why of a run whose command has left processes behind.
const LeftBehind = "the command left"

// Totals counts since the name's first run, also runs that the history has
// dropped.
type Totals struct {
	Runs    int `json:"runs"`
	OK      int `json:"ok"`
	Stopped int `json:"stopped"`
	Failed  int `json:"failed"`  // every other outcome
	Skipped int `json:"skipped"` // ticks that found it running
}

// Run is one worker's life.
type Run struct {
	Start      time.Time  `json:"start"`
	End        time.Time  `json:"end"`
	Ready      *time.Time `json:"ready,omitempty"`
	PID        int        `json:"pid,omitempty"`
	Generation string     `json:"generation,omitempty"`
	Outcome    string     `json:"outcome"` // OK and those below
	Code       int        `json:"code"`    // as a shell gives it; -1 where it isn't known
	Signal     string     `json:"signal,omitempty"`
	Why        string     `json:"why,omitempty"`        // what ended it and why
	MaxRSS     int64      `json:"max_rss,omitempty"`    // bytes, of its largest process
	CPU        float64    `json:"cpu_seconds"`          // of all its processes that were waited for
	Skipped    int        `json:"skipped,omitempty"`    // ticks that found it running
	Supervisor int        `json:"supervisor,omitempty"` // pid
}

// Outcomes of a [Run].
const (
	OK      = "ok"      // exit code 0
	Failed  = "failed"  // another exit code
	Killed  = "killed"  // by a signal that lifeline didn't send
	Stopped = "stopped" // asked to end
	Timeout = "timeout" // --max-runtime
	Hung    = "hung"    // --watchdog, --health-check
	Memory  = "memory"  // --max-memory
	Unready = "unready" // not ready in time
	NoStart = "nostart" // the command couldn't be executed
	Unknown = "unknown" // adopted from a supervisor that was killed: its exit code is lost
	Lost    = "lost"    // its supervisor was killed before it wrote the end
)

// Length returns how long the run took.
func (r Run) Length() time.Duration { return r.End.Sub(r.Start) }

// Good reports whether the run ended with exit code 0.
func (r Run) Good() bool { return r.Outcome == OK }

// Bad reports whether the run failed. A run that was stopped, or whose end isn't
// known, didn't fail.
func (r Run) Bad() bool { return r.Outcome != OK && r.Outcome != Stopped && r.Outcome != Unknown }

// Output is the end of what the last failed run printed, which a logger keeps.
type Output struct {
	Generation string    `json:"generation,omitempty"`
	End        time.Time `json:"end"` // of the run
	Text       string    `json:"text"`
}

// ReadState reads a state file. The error is fs.ErrNotExist for a missing file.
func ReadState(path string) (State, error) {
	var s State
	text, err := readFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("the state in %s is damaged: %w; it is written again when the name runs", path, err)
	}
	if s.Version > Version {
		return s, fmt.Errorf("the state in %s is of version %d, from a newer lifeline", path, s.Version)
	}
	return s, nil
}

// outputLines is how many lines of a failed run's output are kept.
const outputLines = 20

// WriteOutput replaces the file of what the last failed run printed.
func WriteOutput(path string, o Output) error {
	lines := strings.SplitAfter(o.Text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	o.Text = strings.Join(lines[max(0, len(lines)-outputLines):], "")
	return replace(path, o)
}

// ReadOutput reads the file that WriteOutput wrote.
func ReadOutput(path string) (Output, error) {
	var o Output
	text, err := readFile(path)
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	return o, err
}

func writeState(path string, s State) error { return replace(path, s) }

// replace writes v as the whole of a file. A reader sees the old file or the new
// file, always complete.
func replace(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, statedir.Share(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
	}
	return err
}
