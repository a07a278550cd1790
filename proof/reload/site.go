//go:build linux

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/build"
	"lifeline/proof/pid"
)

// site is the directory of a run, with the programs in it. Every process
// started there carries the directory's marker in the environment.
type site struct {
	dir                         string
	lifeline, webserver, single string
	count                       int // directories made so far
}

// lifelineTags are the build tags of the shipped lifeline.
const lifelineTags = "urfave_cli_no_docs,osusergo,netgo"

func newSite() (*site, error) {
	dir, err := os.MkdirTemp("", "reload")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, lifeline: filepath.Join(dir, "lifeline"), webserver: filepath.Join(dir, "webserver"),
		single: filepath.Join(dir, "single")}
	for _, b := range []struct{ out, from, tags string }{
		{s.lifeline, "lifeline", lifelineTags},
		{s.webserver, "./examples/webserver", ""},
		{s.single, "./proof/reload/single", ""},
	} {
		if err := build.One(b.out, b.from, b.tags); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// apart makes another site with the same programs, so that a process left over is found
// in its own site only.
func (s *site) apart() (*site, error) {
	dir, err := s.sub()
	if err != nil {
		return nil, err
	}
	a := &site{dir: dir}
	for _, p := range []struct {
		from string
		to   *string
	}{{s.lifeline, &a.lifeline}, {s.webserver, &a.webserver}, {s.single, &a.single}} {
		*p.to = filepath.Join(dir, filepath.Base(p.from))
		if err := os.Link(p.from, *p.to); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// close kills every process of the site, and removes its directory.
func (s *site) close() {
	pid.KillBelow(s.dir) // lifelines too, so that no more workers start
	for _, id := range s.alive() {
		kill(id, unix.SIGKILL)
	}
	_ = os.RemoveAll(s.dir)
}

// sub makes another directory.
func (s *site) sub() (string, error) {
	s.count++
	dir := filepath.Join(s.dir, strconv.Itoa(s.count))
	return dir, os.Mkdir(dir, 0o755)
}

const mark = "PROOF_RELOAD="

func (s *site) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "LIFELINE_") || strings.HasPrefix(kv, "LISTEN_") ||
			strings.HasPrefix(kv, "NOTIFY_SOCKET=")
	})
	return append(env, mark+s.dir, "PATH="+s.dir+":/usr/sbin:/usr/bin:/sbin:/bin")
}

// alive lists the living processes of the site in the order of their starts.
func (s *site) alive() []pid.ID {
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	var ids []pid.ID
	for _, path := range entries {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		env, err := os.ReadFile(path)
		if err != nil || n == os.Getpid() || !bytes.Contains(append(env, 0), []byte(mark+s.dir+"\x00")) {
			continue
		}
		if st, err := pid.Look(n); err == nil && st.State != 'Z' && st.State != 'X' {
			ids = append(ids, st.ID)
		}
	}
	return inOrder(ids)
}

// running lists the processes that execute program, which lies in the site.
func (s *site) running(program string) []pid.ID {
	return inOrder(slices.DeleteFunc(pid.Below(s.dir), func(id pid.ID) bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID))
		return err != nil || exe != program
	}))
}

// inOrder sorts by the time of the start.
func inOrder(ids []pid.ID) []pid.ID {
	slices.SortFunc(ids, func(a, b pid.ID) int {
		return cmp.Or(cmp.Compare(a.Ticks, b.Ticks), cmp.Compare(a.PID, b.PID))
	})
	return ids
}

// describe lists the processes with their command lines, for a message.
func describe(ids []pid.ID) string {
	var list []string
	for _, id := range ids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
		list = append(list, fmt.Sprintf("pid %d (%s)", id.PID, bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0},
			[]byte{' '}))))
	}
	return strings.Join(list, ", ")
}

// deaf reports whether the process ignores SIGTERM yet.
func deaf(id pid.ID) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", id.PID))
	_, rest, _ := strings.Cut(string(text), "\nSigIgn:\t")
	var ignored uint64
	_, err := fmt.Sscanf(rest, "%x", &ignored)
	return err == nil && ignored&(1<<(unix.SIGTERM-1)) != 0
}

func kill(id pid.ID, sig unix.Signal) {
	if h, err := pid.Open(id); err == nil {
		h.Signal(sig)
		h.Close()
	}
}

// await waits until ok.
func await(what string, ok func() bool) error {
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for: %s", patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
	return nil
}

// freeAddress returns a loopback address without a listener.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// process is a program in the background, with its output in a file.
type process struct {
	*site
	cmd   *exec.Cmd
	id    pid.ID
	ended chan struct{}
	said  string // the file
}

func (s *site) launch(argv ...string) (*process, error) {
	dir, err := s.sub()
	if err != nil {
		return nil, err
	}
	p := &process{site: s, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{}),
		said: filepath.Join(dir, "said")}
	out, err := os.OpenFile(p.said, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.environ(), out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", argv[0], err)
	}
	st, err := pid.Look(p.cmd.Process.Pid) // the process can't be reaped before Wait
	if err != nil {
		return nil, err
	}
	p.id = st.ID
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// text returns the output so far.
func (p *process) text() string {
	text, _ := os.ReadFile(p.said)
	return string(text)
}

// wait waits for the end and returns the exit code, 128+n after a signal.
func (p *process) wait() (code int, err error) {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return 0, fmt.Errorf("%s didn't end; it said:\n%s", p.cmd, p.text())
	}
	if ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// service is a lifeline with its worker.
type service struct {
	*process
	state string
	args  []string
}

const name = "web"

// serve starts `lifeline OPTIONS web -- WORKER`. An empty state stands for a new state
// directory.
func (s *site) serve(state string, options []string, worker ...string) (*service, error) {
	if state == "" {
		dir, err := s.sub()
		if err != nil {
			return nil, err
		}
		state = filepath.Join(dir, "state")
	}
	args := append(append([]string{"--dir", state}, options...), name, "--")
	args = append(args, worker...)
	p, err := s.launch(append([]string{s.lifeline}, args...)...)
	return &service{process: p, state: state, args: args}, err
}

// tick starts the same command line once more, as cron does.
func (v *service) tick() (*service, error) {
	p, err := v.launch(append([]string{v.lifeline}, v.args...)...)
	return &service{process: p, state: v.state, args: v.args}, err
}

// command runs `lifeline VERB --dir STATE web` and returns its output.
func (v *service) command(verb string) (text string, code int) {
	cmd := exec.Command(v.lifeline, verb, "--dir", v.state, name)
	cmd.Env = v.environ()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err.Error(), -1
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// end terminates the service. The error lists the processes that are left.
func (v *service) end() error {
	if text, code := v.command("terminate"); code != 0 {
		return fmt.Errorf("cannot end it: code %d, %s", code, text)
	}
	if _, err := v.wait(); err != nil {
		return err
	}
	if left := v.alive(); len(left) > 0 {
		return fmt.Errorf("left over after the end: %s", describe(left))
	}
	return nil
}

// listens reports whether a process accepts connections at address.
func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
