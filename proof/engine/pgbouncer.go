//go:build linux

package engine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Pgbouncer is a connection pooler in front of a PostgreSQL server.
type Pgbouncer struct {
	port  int
	cmd   *exec.Cmd
	ended chan struct{}
}

// MissingPgbouncer says why pgbouncer can't run here.
func MissingPgbouncer() error {
	_, err := findPgbouncer()
	return err
}

func findPgbouncer() (string, error) {
	path, err := Find("", "pgbouncer", "/usr/sbin")
	if err != nil {
		return "", fmt.Errorf("%w (Debian: apt-get install pgbouncer)", err)
	}
	return path, nil
}

// StartPgbouncer starts a pooler in front of the server at host:port, and waits until
// it accepts connections; mode is its pool_mode.
func StartPgbouncer(dir, server, mode string) (*Pgbouncer, error) {
	program, err := findPgbouncer()
	if err != nil {
		return nil, err
	}
	b := &Pgbouncer{ended: make(chan struct{})}
	if b.port, err = freePort(); err != nil {
		return nil, err
	}
	who, err := ordinary(dir)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("[databases]\npostgres = host=%s port=%s user=proof\n[pgbouncer]\nlisten_addr = "+
		"127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = %s\n", host, port, b.port, mode)
	ini := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		return nil, err
	}
	b.cmd = exec.Command(program, "-q", ini)
	b.cmd.Dir = dir
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if err := start(b.cmd); err != nil {
		return nil, fmt.Errorf("cannot start pgbouncer: %w", err)
	}
	go func() {
		_ = b.cmd.Wait()
		close(b.ended)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", b.Address()); err == nil {
			c.Close()
			return b, nil
		}
		if time.Now().After(deadline) {
			b.Close()
			return nil, fmt.Errorf("pgbouncer doesn't serve")
		}
	}
}

// Address returns the pooler's host:port.
func (b *Pgbouncer) Address() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

// Close ends the pooler.
func (b *Pgbouncer) Close() {
	_ = b.cmd.Process.Kill()
	<-b.ended
}
