package etcd

import (
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/internal/cluster/engine"
)

// TestTLS: whoever stands in for the engine without its certificate, or with
// an old protocol, isn't spoken to.
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
		c, err := tlsConfig(secrets)
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
	if err := dial(good, engine.Secrets{}); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("an authority that nobody knows: %v", err)
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
