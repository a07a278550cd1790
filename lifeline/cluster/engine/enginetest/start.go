// Package enginetest has what tests of engines share: real engines, started
// and ended, and the suite that every engine passes.
package enginetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Port is one that is free on the loopback.
func Port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Server is a running engine.
type Server struct {
	URL string
	cmd *exec.Cmd
}

// Pause and Resume stop it and let it go on, as a partition would.
func (s *Server) Pause()  { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

func serve(t testing.TB, cmd *exec.Cmd, stop syscall.Signal, ready func(ctx context.Context, log string) bool) *Server {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // a Ctrl-C is for the test
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(stop)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		text, _ := os.ReadFile(log.Name())
		if ready(ctx, string(text)) {
			return &Server{cmd: cmd}
		}
		select {
		case <-ended:
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
			continue
		}
		t.Fatalf("%s didn't start: %s", cmd.Path, text)
	}
}

// Binary finds a program built by make, in bin/ above the test, or on PATH.
func Binary(t testing.TB, name string) string {
	t.Helper()
	dir, _ := os.Getwd()
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			if path := filepath.Join(dir, "bin", name); isFile(path) {
				return path
			}
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	need.That(t, false, name+" (make "+name+")")
	return ""
}

func isFile(path string) bool {
	s, err := os.Stat(path)
	return err == nil && s.Mode().IsRegular()
}

// Etcd starts one; args are added to its command line.
func Etcd(t testing.TB, args ...string) *Server {
	t.Helper()
	path := Binary(t, "etcd")
	client, peer := Port(t), Port(t)
	scheme := "http"
	for _, a := range args {
		if strings.HasPrefix(a, "--cert-file") {
			scheme = "https"
		}
	}
	url := fmt.Sprintf("%s://127.0.0.1:%d", scheme, client)
	cmd := exec.Command(path, append([]string{"--data-dir", t.TempDir(), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", peer), "--initial-advertise-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", peer),
		"--initial-cluster", fmt.Sprintf("default=http://127.0.0.1:%d", peer), "--unsafe-no-fsync", "--log-level", "error"}, args...)...)
	s := serve(t, cmd, syscall.SIGTERM, func(ctx context.Context, _ string) bool { return dial(ctx, client) })
	s.URL = fmt.Sprintf("etcd://127.0.0.1:%d", client)
	return s
}

func dial(ctx context.Context, port int) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// pgBin is where Debian and others put what isn't for users.
func pgBin(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		need.That(t, false, "PostgreSQL (initdb)")
	}
	return found[len(found)-1]
}

// Postgres makes a cluster in a directory of its own, as an ordinary user,
// and starts it. hba are the lines of its pg_hba.conf, by default all trusted.
func Postgres(t testing.TB, hba ...string) *Server {
	t.Helper()
	bin := pgBin(t)
	dir, err := os.MkdirTemp("", "lifeline-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := ordinary(t, dir)
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "lifeline", "-A", "trust", "-N", "--no-instructions", "-E", "UTF8", "--locale=C")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	if len(hba) > 0 {
		if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(strings.Join(hba, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := Port(t)
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=300")
	cmd.SysProcAttr, cmd.Dir = attr, dir
	s := serve(t, cmd, syscall.SIGINT, func(_ context.Context, log string) bool {
		return strings.Contains(log, "ready to accept connections")
	})
	s.URL = fmt.Sprintf("postgres://lifeline@127.0.0.1:%d/postgres", port)
	return s
}

// ordinary gives dir to an ordinary user, because PostgreSQL refuses root.
func ordinary(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		need.That(t, false, "the user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// EtcdAuth makes a user with all rights and turns authentication on.
func EtcdAuth(t testing.TB, url, user, password string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.Replace(url, "etcd://", "http://", 1)}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if _, err := c.UserAdd(ctx, user, password); err != nil {
		t.Fatal(err)
	}
	_, _ = c.RoleAdd(ctx, "root")
	if _, err := c.UserGrantRole(ctx, user, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
}

// Pgbouncer starts one before a PostgreSQL and gives its address.
func Pgbouncer(t testing.TB, url, mode string) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
		if !isFile(path) {
			need.That(t, false, "pgbouncer")
		}
	}
	dir, err := os.MkdirTemp("", "lifeline-pgb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := ordinary(t, dir)
	port := Port(t)
	var server int
	if _, err := fmt.Sscanf(url, "postgres://lifeline@127.0.0.1:%d/", &server); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("[databases]\npostgres = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = %s\n", server, port, mode)
	config = strings.Replace(config, "port="+strconv.Itoa(server), "port="+strconv.Itoa(server)+" user=lifeline", 1)
	ini := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, ini)
	cmd.SysProcAttr, cmd.Dir = attr, dir
	serve(t, cmd, syscall.SIGINT, func(ctx context.Context, _ string) bool { return dial(ctx, port) })
	return fmt.Sprintf("postgres://lifeline@127.0.0.1:%d/postgres", port)
}
