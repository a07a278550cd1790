package scripts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

// buildRemote builds the second program for the scripts.
func buildRemote(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "lifeline-remote"), "../../cmd/lifeline-remote")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	return dir
}

// certificates writes an authority, a server's certificate and two clients',
// of which one has expired.
func certificates(t *testing.T, dir string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	for i, name := range []string{"ca", "server", "client", "expired"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth,
				x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		signer, signerKey := ca, caKey
		switch name {
		case "ca":
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
			signer, signerKey, ca, caKey = c, key, c, key
		case "expired":
			c.NotAfter = time.Now().Add(-time.Hour)
		}
		der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, signerKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".pem", "CERTIFICATE", der)
		write(name+".key", "PRIVATE KEY", keyDER)
	}
}

// clusterScripts runs one script of testdata/cluster, with variables.
func clusterScripts(t *testing.T, script string, vars map[string]string) {
	t.Helper()
	remote := buildRemote(t)
	testscript.Run(t, testscript.Params{
		Files:    []string{filepath.Join("..", "testdata", "cluster", script+".txtar")},
		Deadline: time.Now().Add(2 * time.Minute),
		Setup: func(env *testscript.Env) error {
			env.Setenv("LIFELINE_DIR", filepath.Join(env.WorkDir, "state"))
			realProgram(env)
			env.Setenv("LIFELINE_TEST_REMOTE", filepath.Join(remote, "lifeline-remote"))
			for k, v := range vars {
				env.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": exitCode, "until": until, "alone": alone},
	})
}

// TestClusterCommandLine runs the scripts about what is wrong even without an engine.
func TestClusterCommandLine(t *testing.T) { clusterScripts(t, "commandline", nil) }

func TestClusterEtcd(t *testing.T) {
	server := enginetest.Etcd(t)
	clusterScripts(t, "run", map[string]string{"CLUSTER": server, "TTL": "2s", "LONG": repeated(server)})
}

func TestClusterPostgres(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := prepared(t)
	clusterScripts(t, "run", map[string]string{"CLUSTER": server, "TTL": "800ms", "LONG": repeated(server)})
}

// prepared starts a PostgreSQL with lifeline's tables.
func prepared(t *testing.T) (address string) {
	address = enginetest.Postgres(t)
	cmd := exec.Command(filepath.Join(buildRemote(t), "lifeline-remote"), "init", address)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return address
}

// TestShareEtcd runs the scripts about what nodes share of how a name stands, and about
// the page of it.
func TestShareEtcd(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	clusterScripts(t, "share", map[string]string{"CLUSTER": enginetest.Etcd(t), "TTL": "2s"})
}

func TestSharePostgres(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	clusterScripts(t, "share", map[string]string{"CLUSTER": prepared(t), "TTL": "800ms"})
}

// repeated returns an address of more than 4 kB that names its host often.
func repeated(address string) string {
	start := strings.LastIndexAny(address, "@/")
	if i := strings.IndexByte(address, '@'); i >= 0 {
		start = i
	}
	host, rest, _ := strings.Cut(address[start+1:], "/")
	if rest != "" {
		rest = "/" + rest
	}
	return address[:start+1] + strings.Repeat(host+",", 4500/len(host)) + host + rest
}

// TestClusterEtcdTLS runs the scripts on an etcd that wants certificates.
func TestClusterEtcdTLS(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	dir := t.TempDir()
	certificates(t, dir)
	server := enginetest.Etcd(t, "--cert-file="+dir+"/server.pem", "--key-file="+dir+"/server.key",
		"--client-cert-auth",
		"--trusted-ca-file="+dir+"/ca.pem")
	clusterScripts(t, "tls", map[string]string{"CLUSTER": server, "CERTS": dir})
}

// TestClusterEtcdPassword runs the scripts on an etcd that wants a user and a password.
func TestClusterEtcdPassword(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	enginetest.EtcdAuth(t, server, "root", "secret!word")
	clusterScripts(t, "password",
		map[string]string{"CLUSTER": server, "AS": strings.Replace(server, "://", "://root@", 1),
			"WITH": strings.Replace(server, "://", "://root:secret!word@", 1), "NOBODY": strings.Replace(server, "://",
				"://root@", 1)})
}

func TestClusterPostgresPassword(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t, "local all all trust", "host all proof 127.0.0.1/32 trust",
		"host all all 127.0.0.1/32 scram-sha-256")
	cmd := exec.Command(filepath.Join(buildRemote(t), "lifeline-remote"), "init", server)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	enginetest.SQL(t, server, "CREATE USER root PASSWORD 'secret!word'", "GRANT USAGE ON SCHEMA lifeline TO root",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lifeline TO root")
	with := func(user string) string { return strings.Replace(server, "proof@", user+"@", 1) }
	clusterScripts(t, "password", map[string]string{"CLUSTER": with("root"), "AS": with("root"),
		"WITH": with("root:secret!word"), "NOBODY": with("nobody")})
}

// TestClusterPostgresSchema runs the scripts on a database that isn't ready for
// lifeline.
func TestClusterPostgresSchema(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	enginetest.SQL(t, server, "CREATE DATABASE other", "CREATE DATABASE old", "CREATE USER guest")
	db := func(name string) string { return strings.TrimSuffix(server, "postgres") + name }
	remote := filepath.Join(buildRemote(t), "lifeline-remote")
	if out, err := exec.Command(remote, "init", db("old")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	enginetest.SQL(t, db("old"), "INSERT INTO lifeline.version VALUES (99)")
	clusterScripts(t, "schema", map[string]string{"CLUSTER": db("other"), "OLD": db("old"), "NONE": db("none"),
		"GUEST": strings.Replace(db("other"), "proof@", "guest@", 1)})
}

// TestClusterEtcdFull runs the scripts on an etcd that refuses writes. Nothing is
// started, and status can't tell.
func TestClusterEtcdFull(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	clusterScripts(t, "readonly", map[string]string{"CLUSTER": enginetest.FullEtcd(t), "WHY": "etcd has no space left"})
}

// TestClusterPostgresReadOnly runs the scripts on a PostgreSQL that refuses writes.
func TestClusterPostgresReadOnly(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	if out, err := exec.Command(filepath.Join(buildRemote(t), "lifeline-remote"), "init",
		server).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	clusterScripts(t, "readonly", map[string]string{"CLUSTER": server + "?options=-cdefault_transaction_read_only%3Don",
		"WHY": "this PostgreSQL is read-only"})
}

// TestClusterPgbouncer checks that pgbouncer is refused where it pools by transaction,
// and taken where it gives each client a session.
func TestClusterPgbouncer(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	if out, err := exec.Command(filepath.Join(buildRemote(t), "lifeline-remote"), "init",
		server).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	clusterScripts(t, "pooler", map[string]string{
		"STATEMENT":   enginetest.Pgbouncer(t, server, "statement"),
		"TRANSACTION": enginetest.Pgbouncer(t, server, "transaction"),
		"SESSION":     enginetest.Pgbouncer(t, server, "session"),
	})
}
