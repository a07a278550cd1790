package etcd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/await"
	"lifeline/proof/need"
)

// withFile starts an etcd, and returns a session whose password is in a file. The function
// replaces the password in etcd and the file.
func withFile(t *testing.T, args ...string) (*Etcd, func(to string)) {
	t.Helper()
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t, args...)
	enginetest.EtcdAuth(t, server, "root", "first")
	file := filepath.Join(t.TempDir(), "password")
	t.Setenv("LIFELINE_CLUSTER_PASSWORD_FILE", file)
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	e, err := Open(t.Context(), strings.Replace(server, "://", "://root@", 1), "", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	m := engine.Member{Name: "web", Node: "a", TTL: time.Minute, Slots: 1}
	if _, err := e.Join(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	password := "first"
	return e, func(to string) {
		admin, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.TrimPrefix(server, "etcd://")},
			Username: "root", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		password = to
		if _, err := admin.UserChangePassword(t.Context(), "root", to); err != nil {
			t.Fatal(err)
		}
		write(to)
	}
}

// TestDeadMember checks that the others are asked, and tell the time, when one member has
// died and answers nothing.
func TestDeadMember(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, and no program reads them
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	opening, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	e, err := Open(opening, strings.Replace(server, "://", "://"+dead.Addr().String()+",", 1), "", "web")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if opening.Err() != nil {
		t.Error("it took all the time there was")
	}
	for n := 1; ; n++ {
		asking, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		c, err := e.Clock(asking, time.Now)
		cancel()
		if err == nil && !c.At.IsZero() && c.Of == engine.Engines(c.At).Of {
			break
		}
		if n == 5 {
			t.Fatalf("the clock is %+v, %v", c, err)
		}
	}
}

// TestTokenTakesLong checks that a token may take longer than a call. Before, each call
// asked for a new token, and no call ever got it.
func TestTokenTakesLong(t *testing.T) {
	e, _ := withFile(t, "--bcrypt-cost=13")
	for n := 1; ; n++ {
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := e.Reconnect(short)
		cancel()
		if err == nil && n == 1 {
			t.Fatal("the test is wrong: the token came at once")
		}
		if err == nil {
			break
		}
		if n == 600 {
			t.Fatalf("no call of %d had a token: %v", n, err)
		}
	}
	if _, err := e.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTokenBeforeItIsNeeded checks that a new client is made when the password's file
// changes, and that no renewal fails.
func TestTokenBeforeItIsNeeded(t *testing.T) {
	e, rotate := withFile(t)
	for _, to := range []string{"second", "third"} {
		rotate(to)
		await.That(t, "the new client is there", func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.next != nil && e.next.config.Password == to && e.next.ended() && e.next.err == nil
		})
		if _, err := e.Renew(t.Context()); err != nil || e.config.Password != to {
			t.Errorf("with the password %s: %v", e.config.Password, err)
		}
	}
}
