package tasks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func pingCommand() *cli.Command {
	var timeout time.Duration
	return &cli.Command{
		Name:      "ping",
		Usage:     "in a worker: is the supervisor there?",
		UsageText: "lifeline ping [--timeout 5s]\n\nFor shell scripts that lifeline has started: exit code 0 when the supervisor\nanswers, 1 when it is gone.",
		Flags:     []cli.Flag{&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Destination: &timeout, Action: notNegative("timeout"), Usage: "how `long` to wait for the answer"}},
		Action: func(*cli.Context) error {
			return converse("ping", "pong", timeout)
		},
	}
}

// converse says a word on LIFELINE_FD and waits for the answer, for a shell
// script that is the worker. (Package worker does the same for Go programs; it
// brings an HTTP server along, which has no place in this program.)
func converse(word, want string, timeout time.Duration) error {
	fd, err := strconv.Atoi(os.Getenv("LIFELINE_FD"))
	if err != nil || fd < 3 {
		return &codeError{1, "there is no supervisor: LIFELINE_FD is not set"}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return &codeError{1, fmt.Sprintf("there is no supervisor: descriptor %d (LIFELINE_FD) was closed on the way", fd)}
	}
	f := os.NewFile(uintptr(fd), "LIFELINE_FD")
	if timeout > 0 {
		_ = f.SetDeadline(time.Now().Add(timeout))
	}
	if _, err := f.WriteString(word + "\n"); err != nil {
		return &codeError{1, "the supervisor is gone: end this worker, the next tick starts another"}
	}
	answer := make([]byte, 0, 16)
	for one := make([]byte, 1); ; { // not a byte more: the next one may be another's
		_, err := f.Read(one)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &codeError{1, fmt.Sprintf("the supervisor didn't answer within %s", timeout)}
		case errors.Is(err, io.EOF), err != nil:
			return &codeError{1, "the supervisor is gone: end this worker, the next tick starts another"}
		case one[0] != '\n':
			answer = append(answer, one[0])
		case string(answer) == want:
			return nil
		default:
			answer = answer[:0]
		}
	}
}
