// Package enginetest has what tests of engines share: real engines, started
// and ended, and the suite that every engine passes.
package enginetest

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeline/proof/engine"
	"lifeline/proof/need"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Etcd starts an etcd, gives its address, and ends it with the test; args are
// added to its command line.
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

// EtcdAuth makes a user with all rights and turns authentication on.
func EtcdAuth(t testing.TB, address, user, password string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.Replace(address, "etcd://", "http://", 1)},
		DialTimeout: 10 * time.Second})
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

// Postgres makes a database, serves it, gives its address as the owner has it,
// and ends it with the test. hba are the lines of its pg_hba.conf; by default
// every user is trusted.
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

// room is a directory with a name that is short enough for a socket's address.
func room(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lifeline")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Pgbouncer starts a pgbouncer before a PostgreSQL and gives its address.
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
