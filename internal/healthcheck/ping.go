// Package healthcheck tells a monitoring service how a run goes, by the
// convention of healthchecks.io (https://healthchecks.io/docs/http_api/):
//
//	POST URL/start?rid=UUID       the run has started
//	POST URL/CODE?rid=UUID        the run has ended with this exit code; 0 is success
//	POST URL/fail?rid=UUID        the run has failed
//	POST URL/log?rid=UUID         neither good nor bad
//
// The body of all but the first is the end of the run's output.
//
//	r := healthcheck.Request{URL: url, What: "0", RID: rid, Body: tail}
//	err := healthcheck.Send(ctx, http.DefaultTransport, r)
//
// The package is part of lifeline-remote. lifeline itself starts every minute, and an
// HTTP client would make each start slower.
//
// The URL is a secret, because a program that knows it can report success. It comes by
// standard input, and no error shows it.
package healthcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Request is one ping.
type Request struct {
	URL  string `json:"url"`
	What string `json:"what"` // start, log, fail, or an exit code
	RID  string `json:"rid"`  // the run's id, a UUID; may be empty
	Body []byte `json:"body,omitempty"`
}

// MaxBody is how much of a body's end is sent, because the services cut a body at 10 kB
// or more.
const MaxBody = 10_000

const (
	attemptTime = 10 * time.Second
	firstPause  = time.Second
	maxPause    = 16 * time.Second
	attempts    = 7 // take about a minute while the network is away
)

// errFinal is an error that further attempts can't change.
type errFinal struct{ error }

// Send sends r. It repeats a failed attempt for about a minute.
func Send(ctx context.Context, transport http.RoundTripper, r Request) error {
	target, err := r.target()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: transport, Timeout: attemptTime}
	pause := firstPause
	for n := 1; ; n++ {
		err = r.once(ctx, client, target.String())
		var final errFinal
		if err == nil || errors.As(err, &final) || n == attempts {
			return r.redact(target, err)
		}
		select {
		case <-ctx.Done():
			return r.redact(target, err)
		case <-time.After(pause + rand.N(pause/4)):
		}
		pause = min(2*pause, maxPause)
	}
}

// target returns the whole address.
func (r Request) target() (*url.URL, error) {
	switch _, err := strconv.ParseUint(r.What, 10, 8); {
	case err == nil, r.What == "start", r.What == "log", r.What == "fail":
	default:
		return nil, fmt.Errorf("%q is neither start, log, fail nor an exit code", r.What)
	}
	u, err := url.Parse(strings.TrimSpace(r.URL))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("the address isn't one that begins with https:// (or http://)")
	}
	u = u.JoinPath(r.What)
	if r.RID != "" {
		q := u.Query()
		q.Set("rid", r.RID)
		u.RawQuery = q.Encode()
	}
	return u, nil
}

func (r Request) once(ctx context.Context, client *http.Client, target string) error {
	body := r.Body
	if len(body) > MaxBody {
		body = body[len(body)-MaxBody:]
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return errFinal{err}
	}
	req.Header.Set("User-Agent", "lifeline-remote")
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	switch {
	case resp.StatusCode/100 == 2 && strings.HasPrefix(string(said), "OK (not found)"):
		return errFinal{errors.New("the service doesn't know this check: is the URL right?")}
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusRequestTimeout &&
		resp.StatusCode != http.StatusTooManyRequests:
		return errFinal{fmt.Errorf("the service refused it: %s; is the URL right?", resp.Status)}
	}
	return fmt.Errorf("the service answered %s", resp.Status)
}

// redact returns err with only the host of the address in its text.
func (r Request) redact(u *url.URL, err error) error {
	if err == nil {
		return nil
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the outer text has the address
	}
	text := err.Error()
	secrets := append([]string{r.URL, u.String(), u.RequestURI(), u.Path}, strings.Split(u.Path, "/")...)
	if password, ok := u.User.Password(); ok {
		secrets = append(secrets, password)
	}
	for _, secret := range secrets {
		if len(secret) > 5 {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return fmt.Errorf("%s: %s", u.Hostname(), text)
}

// Main runs the verb `ping` of lifeline-remote and returns the exit code. It reads a
// [Request] as JSON on standard input. An operator types `ping URL WHAT`, with the body
// on standard input.
func Main(ctx context.Context, args []string, stdin io.Reader, stderr io.Writer) int {
	fail := func(code int, format string, a ...any) int {
		fmt.Fprintf(stderr, "lifeline-remote: "+format+"\n", a...)
		return code
	}
	var r Request
	switch len(args) {
	case 0:
		if err := json.NewDecoder(io.LimitReader(stdin, 1<<20)).Decode(&r); err != nil {
			return fail(64, "cannot understand what to send: %v", err)
		}
	case 2:
		body, err := io.ReadAll(io.LimitReader(stdin, 10<<20))
		if err != nil {
			return fail(1, "cannot read what to send: %v", err)
		}
		r = Request{URL: args[0], What: args[1], Body: body}
	default:
		return fail(64, "usage: lifeline-remote ping URL start|log|fail|CODE <BODY (the URL can be seen by others; "+
			"lifeline gives it by standard input)")
	}
	if _, err := r.target(); err != nil {
		return fail(64, "%v", err)
	}
	if err := Send(ctx, http.DefaultTransport, r); err != nil {
		return fail(1, "%v", err)
	}
	return 0
}
