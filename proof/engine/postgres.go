//go:build linux

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Postgres is a PostgreSQL server, run by an ordinary user.
type Postgres struct {
	bin  string
	dir  string
	port int
	who  *syscall.Credential

	faked string // libfaketime, where the clock can be set

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// MissingPostgres says why PostgreSQL can't run here.
func MissingPostgres() error {
	_, err := findPostgres()
	return err
}

func findPostgres() (string, error) {
	path, err := Find("", "postgres", "/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", fmt.Errorf("%w (Debian: apt-get install postgresql)", err)
	}
	// The program on PATH may be a link into the directory that has all programs.
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// StartPostgres makes a database in dir and serves it. For root the server runs as the
// user postgres, who must be able to reach dir. The database's owner is the user proof.
// hba has the lines of pg_hba.conf; by default every user is trusted.
func StartPostgres(dir string, hba ...string) (*Postgres, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	p := &Postgres{bin: bin, dir: dir}
	if p.port, err = freePort(); err != nil {
		return nil, err
	}
	if p.who, err = ordinary(dir); err != nil {
		return nil, err
	}
	initdb := p.command("initdb", "-D", p.data(), "-U", "proof", "-A", "trust", "-E", "UTF8",
		"--no-locale", "--no-sync")
	if text, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot make a database: %w\n%s", err, text)
	}
	if len(hba) > 0 {
		if err := os.WriteFile(filepath.Join(p.data(), "pg_hba.conf"), []byte(strings.Join(hba, "\n")+"\n"),
			0o600); err != nil {
			return nil, err
		}
	}
	if err := p.Start(0); err != nil {
		return nil, err
	}
	if err := p.Ready(60 * time.Second); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// ordinary makes dir. PostgreSQL refuses to run as root, so for root ordinary also
// gives dir to the user postgres, and returns this user.
func ordinary(dir string) (*syscall.Credential, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil || os.Getuid() != 0 {
		return nil, err
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root can't run PostgreSQL, and there is no user postgres: %w", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	// The directories above are mostly of mode 0700.
	for above := filepath.Dir(dir); above != "/" && above != os.TempDir(); above = filepath.Dir(above) {
		if info, err := os.Stat(above); err == nil && info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(above, info.Mode().Perm()|0o011); err != nil {
				return nil, err
			}
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = append(clean(), "LC_ALL=C", "HOME="+p.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.who}
	return cmd
}

// Start starts the server. After a SIGKILL old backends may live for a moment. Until
// they have ended the server refuses to start, and Start tries again.
func (p *Postgres) Start(int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if p.running() {
			return nil
		}
		log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		cmd := p.command("postgres", "-D", p.data(), "-p", fmt.Sprint(p.port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories="+p.dir, "-c", "fsync=off", "-c", "max_connections=1000", "-c",
			"logging_collector=off")
		if p.faked != "" {
			cmd.Env = append(cmd.Env, "LD_PRELOAD="+p.faked, "FAKETIME_TIMESTAMP_FILE="+filepath.Join(p.dir, "clock"),
				"FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1")
		}
		cmd.Stdout, cmd.Stderr = log, log
		err = start(cmd)
		log.Close()
		if err != nil {
			return fmt.Errorf("cannot start PostgreSQL: %w", err)
		}
		p.cmd, p.ended = cmd, make(chan struct{})
		go func(ended chan struct{}) {
			_ = cmd.Wait()
			close(ended)
		}(p.ended)
		select {
		case <-p.ended:
		case <-time.After(300 * time.Millisecond):
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
			return fmt.Errorf("PostgreSQL doesn't start; the end of its log:\n%s", text[max(0, len(text)-2000):])
		}
	}
}

func (p *Postgres) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Ready waits until the server serves.
func (p *Postgres) Ready(limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		_, err := p.SQL("select 1")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL doesn't serve after %s: %w", limit, err)
		}
	}
}

// SQL runs statements as the owner, past every link.
func (p *Postgres) SQL(statements string) (string, error) {
	cmd := p.command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
		fmt.Sprint(p.port), "-U", "proof", "-d", "postgres", "-c", statements)
	cmd.Env = append(cmd.Env, "PGCONNECT_TIMEOUT=2")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return string(text), nil
}

// Addresses returns the server's address.
func (p *Postgres) Addresses() []string { return []string{fmt.Sprintf("127.0.0.1:%d", p.port)} }

// Leader returns 0, the only member.
func (p *Postgres) Leader() int { return 0 }

// Kill ends the server's first process, and waits until it has ended. Its children end
// by themselves.
func (p *Postgres) Kill(int) {
	p.Signal(0, syscall.SIGKILL)
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// Signal sends sig to the server's first process.
func (p *Postgres) Signal(_ int, sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		_ = p.cmd.Process.Signal(sig)
	}
}

// Close ends the server at once, because its data isn't needed any more.
func (p *Postgres) Close() {
	p.Signal(0, syscall.SIGQUIT)
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		p.Kill(0)
	}
}
