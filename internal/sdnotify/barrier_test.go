package sdnotify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Barrier waits, for the tests, until the receiver has handled all earlier messages
// (sd_notify_barrier(3)). It returns the context's cause when ctx ends first.
func (c Client) Barrier(ctx context.Context) error {
	if c.Addr == "" {
		return nil
	}
	answer, sent, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot wait for %s: %w", c.Addr, err)
	}
	defer answer.Close()
	err = c.sendFile("BARRIER=1", sent)
	// The receiver's copy must be the last, because its close is the answer.
	_ = sent.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = answer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// The answer is the end of the file; the receiver writes nothing.
	if _, err := answer.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cannot wait for %s any longer: %w", c.Addr, context.Cause(ctx))
	}
	return nil
}

func (c Client) sendFile(state string, f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot notify %s: %w", c.Addr, err)
	}
	var sendErr error
	// f.Fd would make the pipe blocking, for the receiver as well.
	if err := conn.Control(func(fd uintptr) { sendErr = c.Send(state, int(fd)) }); err != nil {
		return fmt.Errorf("cannot notify %s: %w", c.Addr, err)
	}
	return sendErr
}
