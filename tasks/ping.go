package tasks

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func pingCommand() *cli.Command {
	var timeout time.Duration
	return &cli.Command{
		Name:  "ping",
		Usage: "in a worker: is the supervisor there?",
		UsageText: "lifeline ping [--timeout 5s]\n\nFor shell scripts that lifeline has started: exit code 0 when " +
			"the supervisor\nanswers, 1 when it is gone.",
		Flags: flags([]*option{{name: "timeout", value: "TIME", to: duration(&timeout, 5*time.Second),
			usage: "wait up to TIME for the answer"}}),
		Action: func(*cli.Context) error {
			return converse("ping", "pong", timeout)
		},
	}
}

func takeoverCommand() *cli.Command {
	var timeout time.Duration
	return &cli.Command{
		Name:  "takeover",
		Usage: "in a worker: wait until the old generation is gone",
		UsageText: "lifeline takeover\n\nFor shell scripts that lifeline has started: in a reload it says that " +
			"this\ngeneration is ready, and returns when nothing of the old one is left. At a\nfirst " +
			"start it returns at once.",
		Flags: flags([]*option{{name: "timeout", value: "TIME", to: duration(&timeout, 0), preset: "for ever",
			usage: "wait up to TIME"}}),
		Action: func(*cli.Context) error {
			return converse("takeover", "ok", timeout)
		},
	}
}

// converse sends a word on LIFELINE_FD and waits for the answer, for a worker that is
// a shell script. Package worker does the same for Go programs, but links an HTTP
// server, which lifeline doesn't.
func converse(word, want string, timeout time.Duration) error {
	fd, err := strconv.Atoi(os.Getenv("LIFELINE_FD"))
	if err != nil || fd < 3 {
		return &codeError{1, "there is no supervisor: LIFELINE_FD is not set"}
	}
	// The worker shares the open file description, so its flags must stay as they are.
	// Hence poll, and calls that don't block.
	if err := unix.Sendto(fd, []byte(word+"\n"), unix.MSG_NOSIGNAL, nil); err != nil {
		if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOTSOCK) {
			return &codeError{1, fmt.Sprintf("there is no supervisor: descriptor %d (LIFELINE_FD) was "+
				"closed on the way", fd)}
		}
		return &codeError{1, supervisorGone}
	}
	deadline := time.Now().Add(timeout)
	answer, one := make([]byte, 0, 16), make([]byte, 1)
	for {
		wait := -1
		if timeout > 0 {
			if wait = int(time.Until(deadline).Milliseconds()); wait <= 0 {
				return &codeError{1, fmt.Sprintf("the supervisor didn't answer within %s", timeout)}
			}
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, wait); err != nil &&
			err != unix.EINTR {
			return fmt.Errorf("cannot wait for the supervisor's answer: %w", err)
		}
		// Reads byte by byte: what follows the line may be the answer to another process.
		n, _, err := unix.Recvfrom(fd, one, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN, err == unix.EINTR:
		case err != nil, n == 0:
			return &codeError{1, supervisorGone}
		case one[0] != '\n':
			answer = append(answer, one[0])
		case string(answer) == want:
			return nil
		default:
			answer = answer[:0]
		}
	}
}

const supervisorGone = "the supervisor is gone: end this worker, the next tick starts another"
