//go:build linux

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Copy copies the server's data at one moment, while none of its processes runs, as a
// snapshot of its disk would be.
func (p *Postgres) Copy() error {
	p.stopAll(syscall.SIGSTOP)
	defer p.stopAll(syscall.SIGCONT)
	return p.copy(p.data(), p.data()+".copy")
}

func (p *Postgres) copy(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	cp := p.command("cp", "-a", from, to)
	cp.Path = "/bin/cp"
	if text, err := cp.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the data: %w: %s", err, text)
	}
	return nil
}

func (p *Postgres) stopAll(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return
	}
	first := p.cmd.Process.Pid
	children := func() string {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
		return string(text)
	}
	before := children()         // after a SIGKILL it has none
	_ = syscall.Kill(first, sig) // so that it starts no further child
	for _, word := range strings.Fields(before + " " + children()) {
		if pid, err := strconv.Atoi(word); err == nil {
			_ = syscall.Kill(pid, sig)
		}
	}
}

// Back ends the server and starts it with the data of the last Copy.
func (p *Postgres) Back() error {
	p.Kill(0)
	if err := p.copy(p.data()+".copy", p.data()); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(p.data(), "postmaster.pid"))
	return p.again()
}

// Wipe ends the server and starts it with a new database.
func (p *Postgres) Wipe() error {
	p.Kill(0)
	if err := os.RemoveAll(p.data()); err != nil {
		return err
	}
	if text, err := p.command("initdb", "-D", p.data(), "-U", "proof", "-A", "trust", "-E", "UTF8", "--no-locale",
		"--no-sync").CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make a database: %w\n%s", err, text)
	}
	return p.again()
}

func (p *Postgres) again() error {
	if err := p.Start(0); err != nil {
		return err
	}
	return p.Ready(60 * time.Second)
}

// MissingFaketime says why no clock can be set here.
func MissingFaketime() error {
	_, err := findFaketime()
	return err
}

func findFaketime() (string, error) {
	paths, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(paths) == 0 {
		return "", fmt.Errorf("missing on this machine: libfaketime (Debian: apt-get install libfaketime)")
	}
	return paths[0], nil
}

// Fake starts the server again with a clock that Step can set.
func (p *Postgres) Fake() error {
	library, err := findFaketime()
	if err != nil {
		return err
	}
	p.Kill(0)
	p.faked = library
	if err := p.Step(0); err != nil {
		return err
	}
	return p.again()
}

// Step sets the server's clock to the real time plus d, all at once.
func (p *Postgres) Step(d time.Duration) error {
	file := filepath.Join(p.dir, "clock")
	if err := os.WriteFile(file+".new", fmt.Appendf(nil, "%+.3f\n", d.Seconds()), 0o644); err != nil {
		return err
	}
	_ = os.Chmod(file+".new", 0o644)
	return os.Rename(file+".new", file)
}

// Pair is a server and a standby that can lag behind.
type Pair struct {
	*Postgres // the present primary
	other     *Postgres
	ports     []string
}

// NewPair makes a standby for a server.
func NewPair(p *Postgres) (*Pair, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := p.dir + "b"
	who, err := ordinary(dir)
	if err != nil {
		return nil, err
	}
	pair := &Pair{Postgres: p, other: &Postgres{bin: p.bin, dir: dir, port: port, who: who}}
	pair.ports = append(p.Addresses(), pair.other.Addresses()...)
	return pair, pair.Follow()
}

// Addresses returns the addresses of both.
func (p *Pair) Addresses() []string { return p.ports }

// Follow makes the other server a fresh standby of the primary.
func (p *Pair) Follow() error {
	p.other.stopAll(syscall.SIGKILL) // stopped backends wouldn't notice the server's end
	p.other.Kill(0)
	if err := os.RemoveAll(p.other.data()); err != nil {
		return err
	}
	cmd := p.other.command("pg_basebackup", "-h", "127.0.0.1", "-p", fmt.Sprint(p.Postgres.port), "-U", "proof", "-D",
		p.other.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make a standby: %w: %s", err, text)
	}
	return p.other.again()
}

// Lag ends the standby's receiver, so that the standby gets no further changes.
func (p *Pair) Lag() error {
	text, err := p.Postgres.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
	if err == nil {
		// The receiver can't come back, because no server listens at the new address.
		_, err = p.other.SQL("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
	}
	if err == nil {
		_, err = p.other.SQL("SELECT pg_reload_conf()")
	}
	if err != nil {
		return fmt.Errorf("cannot let the standby lag: %w: %s", err, text)
	}
	return nil
}

// Promote ends the primary and makes the standby the primary.
func (p *Pair) Promote() error {
	p.Postgres.Kill(0)
	return p.promote()
}

// Hang stops the primary, whose connections stay open and whose new ones get no answer,
// and makes the standby the primary.
func (p *Pair) Hang() error {
	p.Postgres.stopAll(syscall.SIGSTOP)
	return p.promote()
}

func (p *Pair) promote() error {
	p.Postgres, p.other = p.other, p.Postgres
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := p.Postgres.SQL("SELECT pg_promote(true)")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot promote the standby: %w", err)
		}
	}
}

// Close ends both servers.
func (p *Pair) Close() {
	p.other.stopAll(syscall.SIGKILL)
	p.other.Close()
	p.Postgres.Close()
}
