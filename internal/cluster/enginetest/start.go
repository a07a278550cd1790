// Package enginetest starts real engines for tests, and has the suite that every engine
// passes.
package enginetest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/engine"
	"lifeline/proof/need"
)

// Etcd starts an etcd with args on its command line, returns its address, and ends it
// with the test.
func Etcd(t testing.TB, args ...string) (address string) {
	t.Helper()
	need.NoError(t, engine.MissingEtcd())
	e, err := engine.StartEtcd(t.TempDir(), 1, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return "etcd://" + e.Addresses()[0]
}

// FullEtcd starts an etcd that answers reads and refuses writes, because it has
// reached its quota.
func FullEtcd(t testing.TB) (address string) {
	t.Helper()
	address = Etcd(t, "--quota-backend-bytes=1000000")
	ctl, err := engine.Find("LIFELINE_ETCDCTL", "etcdctl")
	need.NoError(t, err)
	for n := range 100 {
		put := exec.Command(ctl, "--endpoints", strings.TrimPrefix(address, "etcd://"), "put", fmt.Sprint("filler", n))
		put.Stdin = strings.NewReader(strings.Repeat("x", 200_000))
		if out, err := put.CombinedOutput(); strings.Contains(string(out), "database space exceeded") {
			return address
		} else if err != nil {
			t.Fatalf("etcdctl put: %v: %s", err, out)
		}
	}
	t.Fatal("etcd isn't full")
	return ""
}

// EtcdAuth makes a user with all rights and turns authentication on.
func EtcdAuth(t testing.TB, address, user, password string) {
	t.Helper()
	ctl, err := engine.Find("LIFELINE_ETCDCTL", "etcdctl")
	need.NoError(t, err)
	endpoint := strings.TrimPrefix(address, "etcd://")
	for _, args := range [][]string{{"user", "add", user + ":" + password}, {"role", "add", "root"},
		{"user", "grant-role", user, "root"}, {"auth", "enable"}} {
		out, err := exec.Command(ctl, append([]string{"--endpoints", endpoint}, args...)...).CombinedOutput()
		if err != nil && args[0] != "role" { // the role root may exist
			t.Fatalf("etcdctl %s: %v: %s", args[0], err, out)
		}
	}
}

// SQL runs statements in the PostgreSQL at address.
func SQL(t testing.TB, address string, statements ...string) {
	t.Helper()
	psql, err := engine.Find("", "psql")
	need.NoError(t, err)
	for _, s := range statements {
		if out, err := exec.Command(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", address, "-c",
			s).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", s, err, out)
		}
	}
}

// Postgres starts a PostgreSQL, returns its address for the owner, and ends it with the
// test. hba are the lines of its pg_hba.conf; by default every user is trusted.
func Postgres(t testing.TB, hba ...string) (address string) {
	t.Helper()
	need.NoError(t, engine.MissingPostgres())
	p, err := engine.StartPostgres(filepath.Join(room(t), "pg"), hba...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return "postgres://proof@" + p.Addresses()[0] + "/postgres"
}

// room returns a new directory with a name short enough for a socket's address.
func room(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lifeline")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Pgbouncer starts a pgbouncer before a PostgreSQL, and returns its address.
func Pgbouncer(t testing.TB, address, mode string) string {
	t.Helper()
	need.NoError(t, engine.MissingPgbouncer())
	behind, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	b, err := engine.StartPgbouncer(filepath.Join(room(t), "pool"), behind.Host, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	behind.Host = b.Address()
	return behind.String()
}
