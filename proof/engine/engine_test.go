//go:build linux

package engine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lifeline/proof/need"
)

// asker runs a request through a link. The channel gives its result.
func asker(t *testing.T, argv []string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = clean()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	go func() { done <- cmd.Wait() }()
	return done
}

// lossy checks that a request through a cut link hangs, and succeeds as soon as
// the link is healed.
func lossy(t *testing.T, link *Link, request []string) {
	t.Helper()
	for _, way := range []Way{Requests, Replies, Both} {
		before := link.Counter().Requests()
		link.Cut(way)
		done := asker(t, request)
		select {
		case err := <-done:
			t.Fatalf("a request went through a cut link (%d): %v", way, err)
		case <-time.After(500 * time.Millisecond):
		}
		link.Heal()
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("the link was healed: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the link was healed, and the request still hangs")
		}
		if link.Counter().Requests() == before {
			t.Error("the request wasn't counted")
		}
	}
}

func TestEtcd(t *testing.T) {
	need.NoError(t, MissingEtcd())
	ctl, err := Find("LIFELINE_ETCDCTL", "etcdctl")
	need.NoError(t, err)
	e, err := StartEtcd(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	link, err := NewLink(e.Addresses(), HTTP2)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	lossy(t, link, []string{ctl, "--endpoints", strings.Join(link.Addresses(), ","), "--command-timeout", "15s",
		"--dial-timeout", "15s", "get", "x"})

	// After the leader's kill another member leads, and the old leader can come back.
	was := e.Leader()
	if was < 0 {
		t.Fatal("of three members none leads")
	}
	e.Kill(was)
	if err := e.Ready(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if is := e.Leader(); is < 0 || is == was {
		t.Errorf("member %d was killed, and %d leads", was, is)
	}
	if err := e.Start(was); err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(20 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestPostgres(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	need.NoError(t, MissingPostgres())
	psql, err := Find("", "psql")
	need.NoError(t, err)
	p, err := StartPostgres(t.TempDir() + "/pg")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	link, err := NewLink(p.Addresses(), Frontend)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	host, port, _ := net.SplitHostPort(link.Addresses()[0])
	lossy(t, link, []string{psql, "-X", "-h", host, "-p", port, "-U", "proof", "-d", "postgres", "-c", "select 1"})

	if _, err := p.SQL("create table kept (n int); insert into kept values (7)"); err != nil {
		t.Fatal(err)
	}
	p.Kill(0)
	if _, err := p.SQL("select 1"); err == nil {
		t.Error("the server was killed, and still serves")
	}
	if err := p.Start(0); err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if text, err := p.SQL("select n from kept"); err != nil || strings.TrimSpace(text) != "7" {
		t.Errorf("after the crash: %q, %v", text, err)
	}
}

// TestRefused checks that connections through a link are refused while the engine is
// down.
func TestRefused(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	link, err := NewLink([]string{fmt.Sprintf("127.0.0.1:%d", port)}, Frontend)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	c, err := net.Dial("tcp", link.Addresses()[0])
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || os.IsTimeout(err) {
		t.Errorf("read: %v", err)
	}
	if link.Counter().Connections() != 1 {
		t.Errorf("%d connections counted", link.Counter().Connections())
	}
}
