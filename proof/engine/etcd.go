//go:build linux

package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Etcd is an etcd cluster on loopback.
type Etcd struct {
	program string
	dir     string
	args    []string // more arguments for each member
	scheme  string
	http    *http.Client

	mu      sync.Mutex
	members []*member
}

type member struct {
	name         string
	client, peer int // ports
	cmd          *exec.Cmd
	ended        chan struct{}
}

// MissingEtcd says why etcd can't run here.
func MissingEtcd() error {
	_, err := findEtcd()
	return err
}

func findEtcd() (string, error) {
	path, err := Find("LIFELINE_ETCD", "etcd")
	if err != nil {
		return "", fmt.Errorf("%w (make bin/etcd builds it)", err)
	}
	return path, nil
}

// StartEtcd starts n members and waits until they serve; args are added to
// the command line of each.
func StartEtcd(dir string, n int, args ...string) (*Etcd, error) {
	program, err := findEtcd()
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--cert-file=") }) {
		scheme = "https"
	}
	e := &Etcd{program: program, dir: dir, args: args, scheme: scheme,
		http: &http.Client{Timeout: 500 * time.Millisecond,
			Transport: &http.Transport{DisableKeepAlives: true}}}
	for i := range n {
		m := &member{name: fmt.Sprintf("m%d", i)}
		if m.client, err = freePort(); err == nil {
			m.peer, err = freePort()
		}
		if err != nil {
			return nil, err
		}
		e.members = append(e.members, m)
	}
	for i := range n {
		if err := e.Start(i); err != nil {
			e.Close()
			return nil, err
		}
	}
	if err := e.Ready(30 * time.Second); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Start brings a member up, with the data it has.
func (e *Etcd) Start(i int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.members[i]
	if m.running() {
		return nil
	}
	var all []string
	for _, o := range e.members {
		all = append(all, fmt.Sprintf("%s=http://127.0.0.1:%d", o.name, o.peer))
	}
	client, peer := fmt.Sprintf("%s://127.0.0.1:%d", e.scheme, m.client), fmt.Sprintf("http://127.0.0.1:%d", m.peer)
	log, err := os.OpenFile(filepath.Join(e.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	m.cmd = exec.Command(e.program, append([]string{"--name", m.name, "--data-dir", filepath.Join(e.dir, m.name),
		"--listen-client-urls", client,
		// A client that asks for the members' addresses would bypass the link, so it gets
		// an address without a listener.
		"--advertise-client-urls", "http://127.0.0.1:1",
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", strings.Join(all, ","), "--initial-cluster-token", "proof",
		// With these times etcd grants leases from one second on.
		"--heartbeat-interval", "40", "--election-timeout", "400",
		// The machine doesn't lose power here, and after SIGKILL the data is complete.
		"--unsafe-no-fsync", "--log-level", "warn"}, e.args...)...)
	m.cmd.Env = clean()
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := start(m.cmd); err != nil {
		m.cmd = nil
		return fmt.Errorf("cannot start etcd: %w", err)
	}
	m.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(m.cmd, m.ended)
	return nil
}

func (m *member) running() bool {
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// clean returns this process's environment without etcd's and lifeline's variables.
func clean() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ETCD_") && !strings.HasPrefix(kv, "ETCDCTL_") &&
			!strings.HasPrefix(kv, "LIFELINE_") {
			env = append(env, kv)
		}
	}
	return env
}

// Addresses returns the addresses of the members.
func (e *Etcd) Addresses() []string {
	var list []string
	for _, m := range e.members {
		list = append(list, fmt.Sprintf("127.0.0.1:%d", m.client))
	}
	return list
}

// Leader asks each member for its leader.
func (e *Etcd) Leader() int {
	for i := range e.members {
		own, leader := e.status(i)
		if own != "" && own == leader {
			return i
		}
	}
	return -1
}

func (e *Etcd) status(i int) (own, leader string) {
	resp, err := e.http.Post(fmt.Sprintf("http://127.0.0.1:%d/v3/maintenance/status", e.members[i].client),
		"application/json", strings.NewReader("{}"))
	if err != nil {
		return "", ""
	}
	defer resp.Body.Close()
	var s struct {
		Header struct {
			Member string `json:"member_id"`
		}
		Leader string
	}
	if json.NewDecoder(resp.Body).Decode(&s) != nil {
		return "", ""
	}
	return s.Header.Member, s.Leader
}

// Ready waits until every running member takes a write. Where a write needs a
// certificate, it waits until every running member accepts connections.
func (e *Etcd) Ready(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for i := range e.members {
		for !e.serves(i) {
			if time.Now().After(deadline) {
				text, _ := os.ReadFile(filepath.Join(e.dir, e.members[i].name+".log"))
				return fmt.Errorf("etcd doesn't serve after %s; the end of its log:\n%s", limit,
					text[max(0, len(text)-2000):])
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func (e *Etcd) serves(i int) bool {
	e.mu.Lock()
	running := e.members[i].running()
	e.mu.Unlock()
	if !running {
		return true // this member isn't meant to run
	}
	if e.scheme == "https" {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.members[i].client))
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	resp, err := e.http.Post(fmt.Sprintf("http://127.0.0.1:%d/v3/kv/put", e.members[i].client), "application/json",
		bytes.NewReader([]byte(`{"key":"cHJvb2Y=","value":"cHJvb2Y="}`)))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// Kill ends a member and waits until it has ended.
func (e *Etcd) Kill(i int) {
	e.Signal(i, syscall.SIGKILL)
	e.mu.Lock()
	ended := e.members[i].ended
	e.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// Signal sends sig to a member that runs.
func (e *Etcd) Signal(i int, sig syscall.Signal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i >= 0 && i < len(e.members) && e.members[i].running() {
		_ = e.members[i].cmd.Process.Signal(sig)
	}
}

// Close ends all members.
func (e *Etcd) Close() {
	for i, m := range e.members {
		if m.cmd != nil {
			e.Kill(i)
		}
	}
}

// Copy copies the data of all members at one moment, while none of them runs.
func (e *Etcd) Copy() error {
	for i := range e.members {
		e.Signal(i, syscall.SIGSTOP)
		defer e.Signal(i, syscall.SIGCONT)
	}
	return e.each(func(data string) error {
		if err := os.RemoveAll(data + ".copy"); err != nil {
			return err
		}
		return os.CopyFS(data+".copy", os.DirFS(data))
	})
}

// Back ends all members and starts them again with the data of the last Copy.
func (e *Etcd) Back() error {
	return e.replace(func(data string) error {
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		return os.CopyFS(data, os.DirFS(data+".copy"))
	})
}

// Wipe ends all members and starts them again without data.
func (e *Etcd) Wipe() error { return e.replace(os.RemoveAll) }

func (e *Etcd) each(do func(data string) error) error {
	for _, m := range e.members {
		if err := do(filepath.Join(e.dir, m.name)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Etcd) replace(with func(data string) error) error {
	for i := range e.members {
		e.Kill(i)
	}
	if err := e.each(with); err != nil {
		return err
	}
	for i := range e.members {
		if err := e.Start(i); err != nil {
			return err
		}
	}
	return e.Ready(30 * time.Second)
}
