package tasks_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lifeline/proof/await"

	"golang.org/x/sys/unix"
)

const secret = "0b9f5ac1-1f2e-secret"

// checks is a service that is told how it goes.
type checks struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string // path, run id, body
	down int      // so many requests are refused first
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
		c.got = append(c.got, strings.TrimPrefix(r.URL.Path, "/"+secret+"/")+" "+r.URL.Query().Get("rid")+" "+string(body))
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

// wants checks what was heard, "WHAT BODY" each, and that all has one run id.
func (c *checks) wants(t *testing.T, want ...string) {
	t.Helper()
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
	// Nobody there: the worker and its code don't suffer, and it is told.
	c.Close()
	p = w.tick([]string{"--ping-url", c.url()}, "web", "sleep", "9092")
	await.That(t, "started", func() bool { return exec.Command("pgrep", "-f", "^sleep 9092").Run() == nil })
	_ = exec.Command("pkill", "-f", "^sleep 9092").Run()
	await.That(t, "the name is free again", func() bool { return w.tick([]string{"-E", "9"}, "web", "true").ends() == 0 })
	_ = unix.Kill(p.Process.Pid, unix.SIGKILL) // it would try for a minute
	p.ends()
}

// Who looks at the process table, or asks who has the name, doesn't see the
// address; replacing lifeline in place keeps it.
func TestPingSecret(t *testing.T) {
	w, c := newWorld(t), newChecks(t)
	for _, address := range [][]string{{"--ping-url", c.url()}, {"--ping-url=" + c.url()}} {
		p := w.tick(append(address, "--on-start", "touch "+w.path("hooked")), "web", "sh", "-c", `env >"$0"; exec sleep 9093`, w.path("env"))
		await.That(t, "the start is told", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.got) == 1 && exists(w.path("hooked")) })
		if out, err := exec.Command(w.lifeline, "reload", "--self", "--dir", w.dir, "web").CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		line := func() string {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Process.Pid))
			return strings.ReplaceAll(string(text), "\x00", " ")
		}
		await.That(t, "the address is hidden again", func() bool { return strings.Contains(line(), "--ping-url") && strings.Contains(line(), "http://*") })
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
