//go:build linux

package check

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// Watch follows a log while it grows, and adds what it sees of the witnesses from
// outside. Its lines state facts that no delay can make wrong: a witness was alive
// AFTER another had started.
type Watch struct {
	path   string
	out    *os.File
	notify int

	mu      sync.Mutex
	living  map[pid.ID]*pid.Handle
	deaths  map[pid.ID]int64
	started []Life
	changed chan struct{} // closed and made again at each change
	err     error
	waits   sync.WaitGroup
	done    chan struct{}
}

// Follow begins to watch the log at path, and makes the log if it is missing.
func Follow(path string) (*Watch, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
	}
	if errors.Is(err, unix.EMFILE) { // the user's instances of inotify are used up: poll
		fd, err = -1, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot watch the log: %w", err)
	}
	w := &Watch{path: path, out: out, notify: fd, living: map[pid.ID]*pid.Handle{}, deaths: map[pid.ID]int64{},
		changed: make(chan struct{}), done: make(chan struct{})}
	go w.follow()
	return w, nil
}

// Note adds a line of the driver's with the present time: begin, end, reset, tick,
// fault or still.
func (w *Watch) Note(what, text string) {
	line := fmt.Sprintf("%s %d", what, pid.Now())
	if text != "" {
		line += " " + text
	}
	w.say(line)
}

func (w *Watch) say(line string) {
	if _, err := w.out.WriteString(line + "\n"); err != nil {
		panic(fmt.Sprint("cannot write the log: ", err)) // evidence lost
	}
}

func (w *Watch) follow() {
	defer close(w.done)
	var at int64
	var rest []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := w.out.ReadAt(buf, at)
		at += int64(n)
		rest = append(rest, buf[:n]...)
		for {
			line, more, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				break
			}
			rest = more
			if w.line(string(line)) {
				return
			}
		}
		if n > 0 || err == nil {
			continue
		}
		if w.notify < 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		for {
			if _, err := unix.Read(w.notify, buf); err != unix.EINTR {
				break
			}
		}
	}
}

// line reads one line; last is true for the line "end".
func (w *Watch) line(text string) (last bool) {
	e, err := parse(text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.err == nil {
		w.err = err
	}
	switch e.what {
	case "closed":
		return true
	case "start":
		w.start(Life{ID: e.id, Start: e.at, How: e.how})
		close(w.changed)
		w.changed = make(chan struct{})
	}
	return false
}

func (w *Watch) start(l Life) {
	w.started = append(w.started, l)
	for other, h := range w.living {
		if at := pid.Now(); !h.Dead() { // other is alive after this moment, and l began before
			w.say(fmt.Sprintf("both %s %d %s", l.ID, at, other))
		}
	}
	h, err := pid.Open(l.ID)
	if err == pid.ErrGone {
		w.deaths[l.ID] = pid.Now()
		w.say(fmt.Sprintf("dead %s %d", l.ID, w.deaths[l.ID]))
		return
	}
	if err != nil {
		w.err = err
		return
	}
	w.living[l.ID] = h
	w.waits.Add(1)
	go func() {
		defer w.waits.Done()
		h.Wait()
		at := pid.Now()
		w.say(fmt.Sprintf("dead %s %d", l.ID, at))
		w.mu.Lock()
		w.deaths[l.ID] = at
		delete(w.living, l.ID)
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		h.Close()
	}()
}

// Living lists the witnesses that have started and weren't seen dead.
func (w *Watch) Living() []pid.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []pid.ID
	for _, l := range w.started { // in a fixed order, so that runs can be repeated
		if w.living[l.ID] != nil {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// Started counts the starts so far.
func (w *Watch) Started() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.started)
}

// Lives lists the starts so far, in the order of the log.
func (w *Watch) Lives() []Life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.started)
}

// Death returns when a witness was seen dead; 0 while it lives.
func (w *Watch) Death(id pid.ID) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deaths[id]
}

// Changed returns a channel that is closed at the next start or death.
func (w *Watch) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Signal sends sig to a witness that is alive.
func (w *Watch) Signal(id pid.ID, sig unix.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.living[id]; h != nil {
		h.Signal(sig)
	}
}

// Close waits until the deaths of all witnesses are in the log, and judges the log.
// The caller has ended the witnesses before.
func (w *Watch) Close() (*Report, error) {
	for deadline := time.Now().Add(10 * time.Second); len(w.Living()) > 0; {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("witness %s is alive still", w.Living()[0])
		}
		select {
		case <-w.Changed():
		case <-time.After(100 * time.Millisecond):
		}
	}
	w.Note("closed", "")
	<-w.done
	w.waits.Wait()
	unix.Close(w.notify)
	w.out.Close()
	if w.err != nil {
		return nil, w.err
	}
	return Read(w.path)
}
