package healthcheck

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const secret = "0b9f5ac1-secret-uuid"

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func answer(code int, text string) *http.Response {
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: io.NopCloser(strings.NewReader(text)),
		Header: http.Header{}}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct{ url, what, rid, want string }{
		{"https://hc-ping.com/uuid", "start", "r", "https://hc-ping.com/uuid/start?rid=r"},
		{"https://hc-ping.com/uuid/", "0", "", "https://hc-ping.com/uuid/0"},
		{"https://hc-ping.com/key/slug?create=1", "137", "r", "https://hc-ping.com/key/slug/137?create=1&rid=r"},
		{" http://localhost:8000/ping/uuid\n", "log", "", "http://localhost:8000/ping/uuid/log"},
		{"ftp://x/y", "0", "", ""}, {"https://", "0", "", ""}, {"x", "0", "", ""},
		{"https://x/y", "256", "", ""}, {"https://x/y", "-1", "", ""}, {"https://x/y", "../z", "", ""},
	} {
		u, err := Request{URL: c.url, What: c.what, RID: c.rid}.target()
		got := ""
		if err == nil {
			got = u.String()
		}
		if got != c.want {
			t.Errorf("%q %s: %q, want %q", c.url, c.what, got, c.want)
		}
	}
}

// TestRetry shows that a ping survives a network that is away for 20 seconds, and a
// service that fails for a minute.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		err := Send(t.Context(), transport(func(r *http.Request) (*http.Response, error) {
			calls++
			body, _ := io.ReadAll(r.Body)
			switch {
			case string(body) != "said":
				t.Errorf("attempt %d has the body %q", calls, body)
			case calls == 1:
				return answer(503, ""), nil
			case calls == 2:
				return answer(429, ""), nil
			case time.Since(began) < 20*time.Second:
				return nil, errors.New("network is unreachable")
			}
			return answer(200, "OK"), nil
		}), Request{URL: "https://hc/" + secret, What: "0", Body: []byte("said")})
		if err != nil || calls < 4 {
			t.Errorf("%v after %d attempts", err, calls)
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		err := Send(t.Context(), transport(func(*http.Request) (*http.Response, error) {
			calls++
			return nil, errors.New("network is unreachable")
		}), Request{URL: "https://hc/" + secret, What: "0"})
		if took := time.Since(began); err == nil || calls != attempts || took > 100*time.Second {
			t.Errorf("%v after %d attempts in %s", err, calls, took)
		}
	})
	for _, refusal := range []*http.Response{answer(404, ""), answer(400, ""), answer(200, "OK (not found)")} {
		calls := 0
		err := Send(t.Context(), transport(func(*http.Request) (*http.Response, error) {
			calls++
			return refusal, nil
		}), Request{URL: "https://hc/" + secret, What: "0"})
		if err == nil || calls != 1 {
			t.Errorf("%d: %v after %d attempts", refusal.StatusCode, err, calls)
		}
	}
}

func TestSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, failure := range []error{
			errors.New("dial tcp: lookup hc: no such host"),
			&url.Error{Op: "Post", URL: "https://hc/" + secret + "/0", Err: errors.New("refused")},
			errors.New(`malformed "/` + secret + `/0"`),
		} {
			err := Send(t.Context(), transport(func(*http.Request) (*http.Response, error) { return nil, failure }),
				Request{URL: "https://u:passw0rd@hc/" + secret, What: "0"})
			if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "passw0rd") ||
				!strings.Contains(err.Error(), "hc") {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestVerb(t *testing.T) {
	type got struct{ path, rid, body string }
	var seen []got
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, got{r.URL.Path, r.URL.Query().Get("rid"), string(body)})
	}))
	defer server.Close()
	long := strings.Repeat("x", 30_000) + "end"
	var said strings.Builder
	for _, c := range []struct {
		args []string
		in   string
		code int
		want got
	}{
		{nil, `{"url":"` + server.URL + `/u","what":"3","rid":"r","body":"aGVsbG8="}`, 0, got{"/u/3", "r", "hello"}},
		{[]string{server.URL + "/u", "start"}, "", 0, got{"/u/start", "", ""}},
		{[]string{server.URL + "/u", "fail"}, long, 0, got{"/u/fail", "", long[len(long)-MaxBody:]}},
		{nil, "{", 64, got{}},
		{nil, `{"url":"nonsense","what":"0"}`, 64, got{}},
		{[]string{"x"}, "", 64, got{}},
	} {
		seen = nil
		if code := Main(context.Background(), c.args, strings.NewReader(c.in), &said); code != c.code {
			t.Errorf("%q %q: code %d, want %d: %s", c.args, c.in, code, c.code, said.String())
		}
		if c.want != (got{}) && (len(seen) != 1 || seen[0] != c.want) {
			t.Errorf("%q: %v, want %v", c.args, seen, c.want)
		}
	}
}
