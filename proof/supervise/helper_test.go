//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/sdnotify"
	"lifeline/lifeline/worker"
)

// beHelper does what this program does as a worker in Go.
func beHelper(what string) error {
	switch what {
	case "store":
		return store()
	case "daemon":
		return daemonize()
	case "middle":
		return again("daemon itself", false)
	case "daemon itself":
		return outlive()
	}
	return errors.New("unknown")
}

// say sends two numbers to the test, by the directory's FIFO.
func say(a, b int64) error {
	f, err := os.OpenFile("times", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	text := binary.NativeEndian.AppendUint64(nil, uint64(a))
	_, err = f.Write(binary.NativeEndian.AppendUint64(text, uint64(b)))
	return err
}

// store leaves a descriptor with the supervisor. When the descriptor comes back,
// store tells the test which generation made it.
func store() error {
	files, err := worker.Files()
	if err != nil {
		return err
	}
	made := 0
	switch {
	case len(files) == 0:
		fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		made = os.Getpid()
		if _, err := unix.Write(fd, []byte(strconv.Itoa(made))); err != nil {
			return err
		}
		c := sdnotify.Client{Addr: os.Getenv("NOTIFY_SOCKET")}
		if err := c.Send("FDSTORE=1\nFDNAME=the state", fd); err != nil {
			return err
		}
	case len(files) != 1 || files[0].Name() != "the state":
		return fmt.Errorf("%d files came back, the first is %q", len(files), files[0].Name())
	default:
		text, err := io.ReadAll(io.NewSectionReader(files[0], 0, 100))
		if err != nil {
			return err
		}
		if made, err = strconv.Atoi(string(text)); err != nil {
			return err
		}
	}
	if err := worker.Ready(); err != nil {
		return err
	}
	if err := say(int64(made), int64(os.Getpid())); err != nil {
		return err
	}
	select {}
}

// again starts this program as another helper, with all inherited descriptors.
func again(what string, wait bool) error {
	if err := os.Setenv(helper, what); err != nil { // Setenv, because the first of two equal variables counts
		return err
	}
	child, err := syscall.ForkExec("/proc/self/exe", os.Args[:1], &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil || !wait {
		return err
	}
	for {
		if _, err = unix.Wait4(child, nil, 0, nil); err != unix.EINTR {
			return err
		}
	}
}

// daemonize forks twice and ends, so that init becomes the grandchild's parent.
func daemonize() error { return again("middle", true) }

// outlive runs until the supervisor is gone.
func outlive() error {
	signal.Ignore(unix.SIGTERM, unix.SIGHUP)
	ctx, cancel := worker.WithSupervisor(context.Background())
	defer cancel()
	ask, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	if err := worker.PingSupervisor(ask); err != nil {
		return err
	}
	if err := say(0, int64(os.Getpid())); err != nil {
		return err
	}
	<-ctx.Done()
	if context.Cause(ctx) != worker.ErrSupervisorGone {
		return context.Cause(ctx)
	}
	return say(1, int64(os.Getpid()))
}
