package worker

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifyTimeout is how long a message waits for room in the receiver's queue,
// which on Linux is full after eleven messages (net.unix.max_dgram_qlen).
const notifyTimeout = 5 * time.Second

// Ready says that the worker is up and serves (READY=1), or, after [Reloading],
// that it has taken in its new configuration. Like all messages of sd_notify(3),
// it returns nil without NOTIFY_SOCKET. It returns an error when the message can't
// be delivered within five seconds.
func Ready() error { return Notify("READY=1") }

// Stopping says that the worker has begun to end (STOPPING=1).
func Stopping() error { return Notify("STOPPING=1") }

// Reloading says that the worker reads its configuration again (RELOADING=1);
// [Ready] must follow. It carries the CLOCK_MONOTONIC time, by which a
// supervisor tells this reload's READY=1 from an earlier one (systemd.service(5),
// Type=notify-reload).
func Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(clockMonotonic, &now); err != nil {
		return fmt.Errorf("cannot read the monotonic clock: %w", err)
	}
	return Notify("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Status tells, in one line for people, what the worker does or why it can't
// (STATUS=…). Line breaks become spaces: a status can't carry other messages.
func Status(format string, args ...any) error {
	text := strings.ToValidUTF8(fmt.Sprintf(format, args...), "?")
	return Notify("STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(text))
}

// Heartbeat says that the worker is alive (WATCHDOG=1). Send it at least twice
// per watchdog period, from the loop that does the work. A goroutine or a timer
// of its own would go on while the work hangs. A worker without such a loop
// uses [Watchdog].
func Heartbeat() error { return Notify("WATCHDOG=1") }

// Notify sends other assignments that sd_notify(3) knows in one message, such
// as "MAINPID=42" or "EXTEND_TIMEOUT_USEC=30000000". NOTIFY_SOCKET stays, for a
// child that reports on the worker's behalf.
func Notify(assignments ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	// A socket for each message: the receiver behind the path may be another
	// one by now, as when a new supervisor adopted this worker.
	if err := send(path, strings.Join(assignments, "\n")); err != nil {
		return fmt.Errorf("cannot notify the supervisor: %w", err)
	}
	return nil
}

func send(path, message string) error {
	if path[0] != '/' && path[0] != '@' {
		return fmt.Errorf("NOTIFY_SOCKET=%s is neither a path nor an @abstract name", path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(message))
	return err
}
