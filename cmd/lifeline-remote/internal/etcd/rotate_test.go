package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/cmd/lifeline-remote/internal/etcd"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	proof "lifeline/proof/engine"
	"lifeline/proof/need"
)

// held returns a session that has its slot.
func held(t *testing.T, address string) *etcd.Etcd {
	t.Helper()
	e, err := etcd.Open(t.Context(), address, "", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if _, err := e.Join(t.Context(), engine.Member{Name: "web", Node: "a", TTL: time.Minute, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return e
}

// renew renews as a session does: a call that may fail, then a call on a new connection.
func renew(t *testing.T, e *etcd.Etcd) {
	t.Helper()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := e.Renew(short); err == nil {
		return
	}
	long, cancel := context.WithTimeout(t.Context(), 9*time.Second) // less than grpc's keepalive takes
	defer cancel()
	if err := e.Reconnect(long); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Renew(long); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPasswordRotated checks that the session goes on after the password, and then the
// user, is replaced in etcd and in the file.
func TestPasswordRotated(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	file, address := filepath.Join(t.TempDir(), "password"), filepath.Join(t.TempDir(), "address")
	t.Setenv("LIFELINE_CLUSTER_PASSWORD_FILE", file)
	enginetest.EtcdAuth(t, server, "root", "first")
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.TrimPrefix(server, "etcd://")},
		Username: "root",
		Password: "first"})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	as := func(user string) string { return strings.Replace(server, "://", "://"+user+"@", 1) }
	write(t, file, "first\n")
	write(t, address, as("root")+"\n")
	e := held(t, "@"+address)
	renew(t, e)
	if _, err := admin.UserAdd(t.Context(), "other", "second"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.UserGrantRole(t.Context(), "other", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.UserChangePassword(t.Context(), "root", "third"); err != nil {
		t.Fatal(err)
	}
	write(t, file, "third\n")
	renew(t, e)
	if _, err := admin.UserDelete(t.Context(), "other"); err == nil {
		t.Log("the old client still has a token")
	}
	renew(t, e)
}

// TestTokensAreKept checks that renewals ask for no token, because each costs etcd 75
// ms of processor time.
func TestTokensAreKept(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	t.Setenv("LIFELINE_CLUSTER_PASSWORD", "first")
	enginetest.EtcdAuth(t, server, "root", "first")
	tokens := func() (n int) {
		answer, err := http.Get(strings.Replace(server, "etcd://", "http://", 1) + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "grpc_server_started_total{") &&
				strings.Contains(line, `grpc_method="Authenticate"`) {
				fields := strings.Fields(line)
				if n, err = strconv.Atoi(fields[len(fields)-1]); err == nil {
					return n
				}
			}
		}
		t.Fatal("etcd doesn't count its requests")
		return 0
	}
	e := held(t, strings.Replace(server, "://", "://root@", 1))
	before := tokens()
	for range 20 {
		if _, err := e.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if asked := tokens() - before; asked > 5 { // for the stream of renewals and the watch, once each
		t.Errorf("20 renewals asked for %d tokens", asked)
	}
}

// TestConnectionForgotten plays a firewall that forgets open connections. The next call
// fails, and the call after it opens a connection to the endpoints that the file then
// has.
func TestConnectionForgotten(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	link, err := proof.NewLink([]string{strings.TrimPrefix(server, "etcd://")}, proof.HTTP2)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	address := filepath.Join(t.TempDir(), "address")
	write(t, address, "etcd://"+link.Addresses()[0])
	e := held(t, "@"+address)
	for range 3 {
		link.Forget()
		renew(t, e)
	}
	link.Cut(proof.Both)
	write(t, address, server)
	renew(t, e)
	write(t, address, "postgres://h/db")
	if err := e.Reconnect(t.Context()); err == nil || !strings.Contains(err.Error(), "another engine") {
		t.Errorf("with another engine's address: %v", err)
	}
}

// issue writes an authority and a certificate of it, for server and client.
func issue(t *testing.T, dir string) {
	t.Helper()
	keep := func(name, kind string, der []byte) {
		write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	template := func(name string) *x509.Certificate {
		n, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
		return &x509.Certificate{SerialNumber: n, Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour),
			NotAfter:  time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := template("authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keep("ca.pem", "CERTIFICATE", der)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = x509.CreateCertificate(rand.Reader, template("node"), ca, &key.PublicKey, caKey); err != nil {
		t.Fatal(err)
	}
	keep("node.pem", "CERTIFICATE", der)
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		t.Fatal(err)
	}
	keep("node.key", "PRIVATE KEY", der)
}

// TestCertificatesRotated replaces authority, certificate and key in place, and starts
// etcd again with them.
func TestCertificatesRotated(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	need.NoError(t, proof.MissingEtcd())
	dir := t.TempDir()
	issue(t, dir)
	server, err := proof.StartEtcd(t.TempDir(), 1, "--cert-file="+dir+"/node.pem", "--key-file="+dir+"/node.key",
		"--client-cert-auth", "--trusted-ca-file="+dir+"/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	e := held(t, "etcd://"+server.Addresses()[0]+"?cacert="+dir+"/ca.pem&cert="+dir+"/node.pem&key="+dir+"/node.key")
	renew(t, e)
	server.Kill(0)
	issue(t, dir)
	if err := server.Start(0); err != nil {
		t.Fatal(err)
	}
	if err := server.Ready(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	renew(t, e)
}

// TestFull checks that the refusal of writes by an etcd at its quota, which still
// answers reads, is reported as a refusal.
func TestFull(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	e, err := etcd.Open(t.Context(), enginetest.FullEtcd(t), "", "web")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Look(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	_, join := e.Join(t.Context(), engine.Member{Name: "web", Node: "a", TTL: time.Minute, Slots: 1})
	for what, err := range map[string]error{"join": join, "test": e.Test(t.Context())} {
		var refused *engine.Refused
		if !errors.As(err, &refused) || !refused.ReadOnly || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
