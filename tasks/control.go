package tasks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"lifeline/internal/guard"
)

// errSilent says that nothing listens on the control socket.
var errSilent = errors.New("its supervisor doesn't answer")

// refusedError is the supervisor's reason why it doesn't do what it was asked for.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

// order sends verb to the supervisor of name, waits up to limit (0: without limit),
// and returns what follows "ok" in the answer.
func order(ctx context.Context, g guard.Guard, name, verb string, limit time.Duration) (string, error) {
	path, err := g.Control(name)
	if err != nil {
		return "", err
	}
	conn, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, "unix", path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errSilent, err)
	}
	defer conn.Close()
	if limit > 0 {
		_ = conn.SetDeadline(time.Now().Add(limit))
	}
	if _, err := fmt.Fprintln(conn, verb); err != nil {
		return "", fmt.Errorf("cannot ask its supervisor: %w", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("its supervisor went away without an answer: %w", err)
	}
	line = strings.TrimSpace(line)
	if rest, ok := strings.CutPrefix(line, "ok"); ok {
		return strings.TrimSpace(rest), nil
	}
	return "", &refusedError{strings.TrimSpace(strings.TrimPrefix(line, "error"))}
}

// firstMoments is how long a supervisor may take until its control socket answers.
const firstMoments = 5 * time.Second

// holder returns the holder of the name. A new holder may not have written its record
// yet: holder waits up to firstMoments until enough is true of the record.
func (o *options) holder(name string, enough func(guard.Holder) bool) (h guard.Holder, running bool, err error) {
	for deadline := time.Now().Add(firstMoments); ; time.Sleep(10 * time.Millisecond) {
		h, running, err = o.guard.Holder(name)
		if err != nil || !running || enough(h) || time.Now().After(deadline) {
			return h, running, err
		}
	}
}

// ask orders as order does, with errors that tell the operator what to do. It waits
// up to firstMoments for a supervisor that has just started.
func (o *options) ask(ctx context.Context, name, verb string) (string, error) {
	h, running, err := o.holder(name, func(h guard.Holder) bool { return h.Supervisor.Alive() || h.Worker.Alive() })
	if err != nil {
		return "", err
	}
	if !running {
		if strange := o.unknownName(ctx, name); strange != "" {
			return "", &codeError{exitNotRunning, name + ": is not running: " + strange}
		}
		text := fmt.Sprintf("%s: is not running; lifeline start%s %s starts it now", name, o.inFile(), name)
		return "", &codeError{exitNotRunning, text}
	}
	for deadline := time.Now().Add(firstMoments); ; time.Sleep(10 * time.Millisecond) {
		answer, err := order(ctx, o.guard, name, verb, 0)
		var refused *refusedError
		supervised := h.Supervisor != h.Worker && h.Supervisor.Alive()
		switch {
		case err == nil:
			return answer, nil
		case errors.As(err, &refused):
			return "", &codeError{1, name + ": " + refused.why}
		case !errors.Is(err, errSilent):
			return "", fmt.Errorf("%s: %w", name, err)
		case supervised && time.Now().Before(deadline):
			continue
		}
		why := errSilent.Error()
		if !supervised {
			why = "it has no supervisor (--exec, or one that was killed)"
		}
		return "", fmt.Errorf("%s: cannot %s it: %s; lifeline terminate %s ends it, and the next tick starts it again",
			name,
			verb, why, name)
	}
}
