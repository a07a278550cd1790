package tasks_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lifeline/internal/guard"
	"lifeline/proof/await"

	"golang.org/x/sys/unix"
)

const secret = "0b9f5ac1-1f2e-secret"

// checks is a service that is told how it goes.
type checks struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string // path, run id, body
	down int      // how many requests are refused first
}

func newChecks(t *testing.T) *checks {
	c := &checks{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.down > 0 {
			c.down--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.got = append(c.got, strings.TrimPrefix(r.URL.Path,
			"/"+secret+"/")+" "+r.URL.Query().Get("rid")+" "+string(body))
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *checks) url() string { return c.URL + "/" + secret }

func (c *checks) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// wants checks what is heard, "WHAT BODY" each, and that all has one run id. The
// logger sends it when lifeline is over.
func (c *checks) wants(t *testing.T, want ...string) {
	t.Helper()
	await.That(t, fmt.Sprintf("the service hears %q", want),
		func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.got) >= len(want) })
	got := c.heard()
	rids := map[string]bool{}
	for i, text := range got {
		f := strings.SplitN(text, " ", 3)
		rids[f[1]] = true
		got[i] = f[0] + " " + f[2]
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) || len(rids) != 1 {
		t.Errorf("the service heard %q of %d runs, want %q of one", got, len(rids), want)
	}
}

func TestPings(t *testing.T) {
	w, c := newWorld(t), newChecks(t)
	for _, test := range []struct {
		options []string
		command string
		want    []string
		shows   string
	}{
		{nil, "echo done; echo more", []string{"start ", "0 done\nmore\n"}, "done\nmore\n"},
		{nil, "echo bad; exit 3", []string{"start ", "3 bad\n"}, "bad\n"},
		{[]string{"--quiet"}, "echo done", []string{"start ", "0 done\n"}, ""},
		{[]string{"--log", w.path("log")}, "echo done", []string{"start ", "0 done\n"}, ""},
		{nil, "kill -9 $$", []string{"start ", "137 "}, ""},
	} {
		p := w.tick(append(test.options, "--ping-url", c.url()), "web", "sh", "-c", test.command)
		p.ends()
		if test.shows != read(p.out) {
			t.Errorf("%s %s: shows %q, want %q; %s", test.options, test.command, read(p.out), test.shows, read(p.err))
		}
		c.wants(t, test.want...)
	}
	// A service that is down for a moment; the start isn't worth a delay.
	c.mu.Lock()
	c.down = 2
	c.mu.Unlock()
	if code := w.tick([]string{"--ping-url", c.url()}, "web", "echo", "up").ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	await.That(t, "the end gets through", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.got) > 0 && strings.HasPrefix(c.got[len(c.got)-1], "0 ")
	})
	got := c.heard()
	if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "0 ") || !strings.HasSuffix(got[len(got)-1], "up\n") {
		t.Errorf("heard %q", got)
	}
	// Asked to end: neither good nor bad.
	p := w.tick([]string{"--ping-url", c.url()}, "web", "sleep", "9091")
	await.That(t, "it has started", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.got) == 1 })
	_ = unix.Kill(p.Process.Pid, unix.SIGTERM)
	p.ends()
	c.wants(t, "start ", "log \nlifeline: lifeline was asked to end\n")
	// Without an endpoint the worker and its code stay as they are, and lifeline warns.
	c.Close()
	p = w.tick([]string{"--ping-url", c.url()}, "web", "sleep", "9092")
	await.That(t, "started", func() bool { return exec.Command("pgrep", "-f", "^sleep 9092").Run() == nil })
	_ = exec.Command("pkill", "-f", "^sleep 9092").Run()
	await.That(t, "the name is free again",
		func() bool { return w.tick([]string{"-E", "9"}, "web", "true").ends() == 0 })
	_ = unix.Kill(p.Process.Pid, unix.SIGKILL) // it would try for a minute
	p.ends()
}

// TestDeadPings checks endpoints that accept and never answer, or take no connection
// any more. Neither the name nor lifeline's exit waits for them. The logger goes on by
// itself, and the next start reports what it gave up.
func TestDeadPings(t *testing.T) {
	w := newWorld(t)
	held := make(chan struct{})
	var mu sync.Mutex
	var got []string
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-held
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.URL.Path)
	}))
	t.Cleanup(hangs.Close)
	p := w.tick([]string{"--ping-url", hangs.URL + "/" + secret, "--on-failure", "echo hook $LIFELINE_CODE"}, "web",
		"sh",
		"-c", "echo printed; exit 3")
	if code := p.ends(); code != 3 || read(p.out) != "printed\nhook 3\n" {
		t.Errorf("exit code %d, %q, %q", code, read(p.out), read(p.err))
	}
	if code := w.tick([]string{"-E", "9"}, "web", "true").ends(); code != 0 {
		t.Errorf("the name isn't free: %d", code)
	}
	close(held)
	await.That(t, "the end gets through when lifeline is over", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) > 0 && strings.HasSuffix(got[len(got)-1], "/3")
	})

	full := fullListener(t)
	if code := w.tick([]string{"--ping-url", "http://" + full + "/" + secret}, "drops", "true").ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	// Refused for good: lifeline is over by then, or hears of it. One of the two says
	// so, once, until a ping has got through.
	var status atomic.Int32
	status.Store(http.StatusNotFound)
	answers := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter,
		_ *http.Request) {
		rw.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(answers.Close)
	trouble := guard.Guard{Dir: w.dir}.PingTrouble("job")
	run := func() string {
		p := w.tick([]string{"--ping-url", answers.URL + "/" + secret}, "job", "true")
		if code := p.ends(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		await.That(t, "its logger is over", func() bool {
			return exec.Command("pgrep", "-f",
				"lifeline-logger . job").Run() != nil
		})
		return read(p.err)
	}
	const refused = "didn't get through: 127.0.0.1: the service refused it: 404 Not Found; is the URL right?"
	if said := run() + run() + run() + run(); strings.Count(said, refused) != 1 && !exists(trouble) ||
		strings.Contains(said, secret) {
		t.Errorf("four runs said %q", said)
	}
	status.Store(http.StatusOK)
	if run(); exists(trouble) {
		t.Errorf("%s: a ping has got through, and the file of the trouble is still there", trouble)
	}
}

// fullListener listens, and takes no connection: its backlog is full.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd,
		0)); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return address
}

// TestPingSecret checks that neither the process table nor the holder's description
// shows the address, and that replacing lifeline in place keeps it.
func TestPingSecret(t *testing.T) {
	w, c := newWorld(t), newChecks(t)
	for _, address := range [][]string{{"--ping-url", c.url()}, {"--ping-url=" + c.url()}} {
		p := w.tick(append(address, "--on-start", "touch "+w.path("hooked")), "web", "sh", "-c",
			`env >"$0"; exec sleep 9093`, w.path("env"))
		await.That(t, "the start is told", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.got) == 1 &&
				exists(w.path("hooked"))
		})
		if out, err := exec.Command(w.lifeline, "reload", "--self", "--dir", w.dir,
			"web").CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		line := func() string {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Process.Pid))
			return strings.ReplaceAll(string(text), "\x00", " ")
		}
		await.That(t, "the address is hidden again", func() bool {
			return strings.Contains(line(), "--ping-url") &&
				strings.Contains(line(), "http://*")
		})
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			if text, _ := os.ReadFile(f); strings.Contains(string(text), secret) {
				t.Errorf("%s: %q", f, text)
			}
		}
		tick := w.tick([]string{"--verbose"}, "web", "true")
		if tick.ends(); strings.Contains(read(tick.err), secret) || !tick.says("runs already") {
			t.Errorf("a tick says %q", read(tick.err))
		}
		if text, _ := os.ReadFile(w.path("env")); strings.Contains(string(text), secret) {
			t.Errorf("the worker has it in its environment: %s", text)
		}
		_ = filepath.Walk(w.dir, func(path string, st os.FileInfo, _ error) error {
			if st != nil && st.Mode().IsRegular() {
				if text, _ := os.ReadFile(path); strings.Contains(string(text), secret) {
					t.Errorf("it stands in %s", path)
				}
			}
			return nil
		})
		_ = unix.Kill(p.Process.Pid, unix.SIGTERM)
		p.ends()
		c.wants(t, "start ", "log \nlifeline: lifeline was asked to end\n")
		if p.says(secret) {
			t.Errorf("lifeline says it: %s", read(p.err))
		}
		_ = os.Remove(w.path("hooked"))
	}
	// From a file.
	file := w.path("address")
	if err := os.WriteFile(file, []byte(c.url()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := w.tick([]string{"--ping-url", "@" + file}, "web", "true").ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.wants(t, "start ", "0 ")
}
