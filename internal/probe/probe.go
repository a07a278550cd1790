// Package probe checks from outside whether a server serves, over plain sockets.
//
//	target, err := probe.Parse("http://127.0.0.1:8080/health")
//	err = target.Ask(ctx) // nil: it answered with a code from 200 to 399
package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Target is what a check asks: a shell command, which the caller runs, or an address.
type Target struct {
	Text    string // as typed; "" for no target
	network string // of an address; "" for a command
	address string
	request string // of HTTP; "" for a connection alone
}

// Parse reads COMMAND, tcp://HOST:PORT or http://HOST[:PORT]/PATH.
func Parse(text string) (Target, error) {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok || strings.ContainsAny(scheme, " \t\n/='\"") {
		if strings.TrimSpace(text) == "" {
			return Target{}, errors.New("it is a shell command, tcp://HOST:PORT or http://HOST:PORT/PATH")
		}
		return Target{Text: text}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return Target{}, errors.New("not an address such as tcp://127.0.0.1:8080 or http://127.0.0.1:8080/health")
	}
	port := u.Port()
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return Target{}, fmt.Errorf("port %s isn't from 1 to 65535", port)
	}
	t := Target{Text: text, network: "tcp"}
	switch {
	case u.Scheme == "tcp" && (port == "" || u.Path != "" || u.RawQuery != ""):
		return Target{}, errors.New("not tcp://HOST:PORT")
	case u.Scheme == "tcp":
	case u.Scheme == "http":
		if port == "" {
			port = "80"
		}
		t.request = "GET " + u.RequestURI() + " HTTP/1.0\r\nHost: " + u.Host + "\r\nUser-Agent: lifeline\r\n\r\n"
	case u.Scheme == "https":
		return Target{}, errors.New("lifeline speaks no TLS; give a command such as 'curl -fsS " + text + "'")
	default:
		return Target{}, fmt.Errorf("%q is neither tcp nor http", u.Scheme)
	}
	t.address = net.JoinHostPort(u.Hostname(), port)
	return t, nil
}

// Set reads the value of a flag.
func (t *Target) Set(text string) (err error) {
	*t, err = Parse(text)
	return err
}

func (t *Target) String() string { return t.Text }

// IsCommand reports whether the target is a shell command.
func (t Target) IsCommand() bool { return t.Text != "" && t.network == "" }

// OnlyConnects reports whether Ask only connects to address and sends nothing.
func (t Target) OnlyConnects(address string) bool { return t.request == "" && t.address == address }

// Ask connects, and sends the request of an HTTP target. It returns nil for a code from
// 200 to 399. It returns when the answer has come or ctx has ended.
func (t Target) Ask(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, t.network, t.address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return fmt.Errorf("cannot connect: %w", err)
	}
	defer conn.Close()
	if t.request == "" {
		return nil
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write([]byte(t.request)); err != nil {
		return fmt.Errorf("cannot ask: %w", err)
	}
	line, err := bufio.NewReaderSize(conn, 1024).ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	// RFC 9112, section 4: HTTP/1.1 200 OK
	f := strings.Fields(string(line))
	if len(f) < 2 || !strings.HasPrefix(f[0], "HTTP/") {
		return fmt.Errorf("the answer isn't HTTP")
	}
	if code, err := strconv.Atoi(f[1]); err != nil || code < 200 || code > 399 {
		return fmt.Errorf("the answer is %s", strings.Join(f[1:], " "))
	}
	return nil
}
