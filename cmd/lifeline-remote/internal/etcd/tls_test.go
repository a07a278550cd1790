package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
)

// selfSigned returns the certificate of an authority that has signed nothing.
func selfSigned(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestTLS checks that a server without the engine's certificate, or with an old
// protocol, is refused.
func TestTLS(t *testing.T) {
	server := func(version uint16) *httptest.Server {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.TLS = &tls.Config{MaxVersion: version}
		s.Config.ErrorLog = nil
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	good := server(tls.VersionTLS13)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	dial := func(s *httptest.Server, secrets engine.Secrets) error {
		c, err := tlsConfig(secrets, strings.TrimPrefix(s.URL, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), c)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(good, engine.Secrets{CACert: ca}); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	// A name that the certificate lacks is refused, and so is another
	// authority.
	address := strings.TrimPrefix(good.URL, "https://")
	c, err := tlsConfig(engine.Secrets{CACert: ca}, address)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := tlsConfig(engine.Secrets{CACert: ca}, "192.0.2.1:2379")
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := tls.Dial("tcp", address, elsewhere); err == nil {
		conn.Close()
		t.Error("a certificate for another address was good enough")
	}
	named := c.Clone()
	named.ServerName = "another.example.org"
	if conn, err := tls.Dial("tcp", address, named); err == nil {
		conn.Close()
		t.Error("a certificate for another name was good enough")
	}
	if err := os.WriteFile(ca, selfSigned(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if conn, err := tls.Dial("tcp", address, c); err == nil {
		conn.Close()
		t.Error("the authority was replaced, and the old one is believed")
	}
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if conn, err := tls.Dial("tcp", address, c); err != nil {
		t.Errorf("the authority was replaced, and isn't read again: %v", err)
	} else {
		conn.Close()
	}
	if err := dial(good, engine.Secrets{}); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("an unknown authority: %v", err)
	}
	if err := dial(server(tls.VersionTLS11), engine.Secrets{CACert: ca}); err == nil {
		t.Error("TLS 1.1 was good enough")
	}
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []engine.Secrets{{CACert: bad}, {CACert: bad + "x"}, {Cert: ca}, {Cert: ca, Key: bad}} {
		if _, err := tlsConfig(s); err == nil {
			t.Errorf("%+v passes", s)
		}
	}
}
