//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"lifeline/proof/need"
)

var programs *site

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = newSite(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer programs.close()
		return m.Run()
	}())
}

// own makes a site for one test.
func own(t *testing.T) *site {
	t.Helper()
	s, err := programs.apart()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// missing skips the test where a program is missing, and fails it on other errors.
func missing(t *testing.T, err error) {
	t.Helper()
	var m *missingError
	if !errors.As(err, &m) {
		return
	}
	need.NoError(t, err)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestOverlap(t *testing.T) {
	r, err := own(t).overlap(20, 1000)
	t.Logf("\n%s%s", rowsHead, r)
	must(t, err, r.verdict())
	if len(r.tally.servers) < 10 {
		t.Errorf("only %d generations have answered: what was reloaded?", len(r.tally.servers))
	}
}

// TestRestart checks, as the control, that a plain restart loses requests under this
// load.
func TestRestart(t *testing.T) {
	r, err := own(t).restart(5, false)
	t.Logf("\n%s%s", rowsHead, r)
	must(t, err)
	if r.tally.lost == 0 {
		t.Error("a plain restart lost nothing: this load proves nothing")
	}
	r, err = own(t).restart(5, true)
	t.Logf("\n%s%s", rowsHead, r)
	must(t, err, r.verdict())
}

func TestStartServer(t *testing.T) {
	r, err := own(t).startServer(2)
	missing(t, err)
	t.Logf("\n%s%s", rowsHead, r)
	must(t, err)
}

func TestKill(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	seed := need.Number(t, "LIFELINE_SEED", rand.Uint64N(1e6)+1)
	k, err := own(t).killing(30, 500, rand.New(rand.NewPCG(seed, 0)))
	t.Logf("LIFELINE_SEED=%d\n%s%s", seed, killedHead, k)
	must(t, err, k.verdict())
}

func TestTakeover(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	for _, scripted := range []bool{false, true} {
		k, err := own(t).takeover(20, scripted)
		must(t, err)
		t.Logf("\n%s%s", takenHead, k)
		must(t, k.verdict())
	}
	r, err := own(t).takeoverUnderLoad(5)
	must(t, err, r.verdict())
}

func TestBad(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(*site, func(string, ...any)) error
	}{
		{"turned down", (*site).turnedDown},
		{"deaf drain", (*site).deafDrain},
		{"reload during a reload", (*site).twice},
		{"TERM during a reload", (*site).termDuring},
	} {
		t.Run(c.name, func(t *testing.T) { must(t, c.run(own(t), t.Logf)) })
	}
	for _, moment := range killMoments {
		t.Run("lifeline killed "+moment, func(t *testing.T) { must(t, own(t).killedDuring(moment, t.Logf)) })
	}
}

// TestServers checks that without keep-alive every request is answered. Some servers
// close kept connections at their end, which isn't judged.
func TestServers(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	for _, o := range servers {
		if o.clients.keepAlive > 0 && o.clients.fresh == 0 {
			continue
		}
		t.Run(o.what, func(t *testing.T) {
			missing(t, lacks(o.needs[0], o.needs[1]))
			r, err := own(t).serveOther(o, 2, false)
			r.what = o.what
			t.Logf("\n%s%s", rowsHead, r)
			must(t, err)
			if !o.loses {
				must(t, r.verdict())
			}
		})
	}
}

func TestBacklog(t *testing.T) {
	t.Run("backlog", func(t *testing.T) { must(t, own(t).backlog(1, t.Logf)) })
	t.Run("unix", func(t *testing.T) { must(t, own(t).unixSocket(t.Logf)) })
	t.Run("fds", func(t *testing.T) { must(t, own(t).handedOver(t.Logf)) })
}

// TestAddress reads the kernel's notation of addresses, by which killed workers'
// connections are excused.
func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"0A01007F:0050":                         "127.0.1.10:80",
		"00000000000000000000000001000000:0016": "[::1]:22",
		"0000000000000000FFFF00000A01007F:0050": "127.0.1.10:80",
	} {
		if got, err := address(text); err != nil || got != want {
			t.Errorf("%s: %q %v, not %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0100007F", "0100007F:", "01:1F90", "xx00007F:1F90", "0100007F:FFFFF"} {
		if got, err := address(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestAccepted checks that both ways to list a process's connections agree.
func TestAccepted(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	must(t, err)
	defer conn.Close()
	server, err := l.Accept()
	must(t, err)
	defer server.Close()
	got, err := accepted(os.Getpid())
	must(t, err)
	if !slices.Contains(got, conn.LocalAddr().String()) {
		t.Errorf("%s isn't among %q", conn.LocalAddr(), got)
	}
	raw, err := server.(*net.TCPConn).SyscallConn()
	must(t, err)
	var inode string
	must(t, raw.Control(func(fd uintptr) {
		to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		inode = strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")
	}))
	if got, err := inTable(map[string]bool{inode: true}); err != nil || !slices.Equal(got,
		[]string{conn.LocalAddr().String()}) {
		t.Errorf("the table has %q, %v, not %s", got, err, conn.LocalAddr())
	}
}
