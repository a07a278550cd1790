package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "shell command",
		"tcp://127.0.0.1":           "not tcp://HOST:PORT",
		"tcp://127.0.0.1:80/x":      "not tcp://HOST:PORT",
		"tcp://127.0.0.1:0":         "port 0",
		"http://":                   "not an address",
		"http://me@127.0.0.1/":      "not an address",
		"https://127.0.0.1/":        "curl -fsS https://127.0.0.1/",
		"redis://127.0.0.1":         `"redis" is neither`,
		"tcp://127.0.0.1:8080":      "",
		"http://localhost":          "",
		"http://[::1]:8080/a?b=c":   "",
		"curl -fsS http://x/":       "",
		"redis-cli ping":            "",
		"URL=http://x/ sh check.sh": "",
	} {
		got, err := Parse(text)
		switch {
		case want == "" && (err != nil || got.Text != text):
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, not %s", text, err, want)
		}
	}
}

func TestAsk(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/broken":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case "/query":
			if r.Host == "" || r.URL.Query().Get("a") != "b c" {
				http.Error(w, "no", http.StatusBadRequest)
			}
		case "/hangs":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	go func() {
		for {
			conn, err := quiet.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail\r\n"))
			conn.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for text, want := range map[string]string{
		server.URL + "/":                  "",
		server.URL + "/moved":             "",
		server.URL + "/query?a=b%20c":     "",
		server.URL + "/broken":            "the answer is 503 Service Unavailable",
		server.URL + "/hangs":             "no answer",
		"tcp://" + quiet.Addr().String():  "",
		"http://" + quiet.Addr().String(): "the answer isn't HTTP",
		"tcp://" + gone.Addr().String():   "connection refused",
		"http://" + gone.Addr().String():  "connection refused",
	} {
		target, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		limit := time.Minute
		if strings.HasSuffix(text, "/hangs") {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err = target.Ask(ctx)
		cancel()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
}
