//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// patience is the time limit for anything that must happen.
const patience = 30 * time.Second

// subject is a supervisor at work, with one worker.
type subject struct {
	name   string
	dir    string
	times  *os.File
	cmd    *exec.Cmd
	worker pid.ID
	born   time.Time // when the worker's first message came
}

// message is what a worker writes into its FIFO: two numbers.
type message [2]int64

// start runs argv, whose worker writes into times.
func start(name, dir string, times *os.File, env, argv []string) (*subject, error) {
	s := &subject{name: name, dir: dir, times: times, cmd: exec.Command(argv[0], argv[1:]...)}
	s.cmd.Env = append(environ(), env...)
	s.cmd.Dir = dir
	said, err := os.OpenFile(filepath.Join(dir, "said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	s.cmd.Stdout, s.cmd.Stderr = said, said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is for this program
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	return s, nil
}

// lifelines starts lifeline with a worker in a directory of its own.
func (b *bench) lifelines(name string, options []string, worker ...string) (*subject, error) {
	dir, times, err := b.room()
	if err != nil {
		return nil, err
	}
	return start(name, dir, times, nil, b.argv(dir, options, worker...))
}

func (b *bench) argv(dir string, options []string, worker ...string) []string {
	argv := append([]string{b.lifeline, "--dir", filepath.Join(dir, "state"), "--chdir", dir}, options...)
	return append(append(argv, "web", "--"), worker...)
}

// hear returns the worker's next message.
func (s *subject) hear() (m message, err error) { return s.hearFor(patience) }

func (s *subject) hearFor(wait time.Duration) (m message, err error) {
	_ = s.times.SetReadDeadline(time.Now().Add(wait))
	var text [16]byte
	if _, err := io.ReadFull(s.times, text[:]); err != nil {
		said, _ := os.ReadFile(filepath.Join(s.dir, "said"))
		return m, fmt.Errorf("%s: nothing from the worker: %w; printed: %q", s.name, err, said)
	}
	m[0], m[1] = int64(binary.NativeEndian.Uint64(text[:])), int64(binary.NativeEndian.Uint64(text[8:]))
	return m, nil
}

// meet waits for the next worker, and returns when the worker began.
func (s *subject) meet() (began int64, err error) {
	m, err := s.hear()
	if err != nil {
		return 0, err
	}
	s.born = time.Now()
	st, err := pid.Look(int(m[1]))
	s.worker = st.ID
	if err != nil {
		s.worker = pid.ID{PID: int(m[1])} // the worker has ended already
	}
	return m[0], nil
}

// kill kills the worker, and returns the time to the first instruction of the next
// worker.
func (s *subject) kill() (time.Duration, error) {
	h, err := pid.Open(s.worker)
	if err != nil {
		return 0, fmt.Errorf("%s: the worker has gone: %w", s.name, err)
	}
	defer h.Close()
	at := pid.Now()
	h.Signal(unix.SIGKILL)
	began, err := s.meet()
	return time.Duration(began - at), err
}

// end ends the supervisor, and every process whose program lies below the bench.
func (s *subject) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if h, err := pid.Open(s.worker); err == nil {
		h.Signal(unix.SIGKILL)
		h.WaitFor(5000)
		h.Close()
	}
	s.times.Close()
}

func (s *subject) said() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "said"))
	return string(text)
}

// shown returns the command line without the directories of this run.
func (s *subject) shown(b *bench) string {
	var words []string
	for _, w := range s.cmd.Args {
		words = append(words, strings.TrimPrefix(strings.TrimPrefix(w, s.dir+"/"), b.dir+"/"))
	}
	words[0] = filepath.Base(words[0])
	return strings.ReplaceAll(strings.Join(words, " "), s.dir, ".")
}
