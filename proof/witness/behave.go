//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// family starts the children of the flags.
func (o *options) family() error {
	for range o.children {
		if err := o.fork(""); err != nil {
			return err
		}
	}
	if o.daemon == "" {
		return nil
	}
	middle, err := o.start([]string{"-child", "leave", "-daemon", o.daemon}, true)
	if err != nil {
		return err
	}
	for {
		_, err := unix.Wait4(middle, nil, 0, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// fork starts a child that only waits.
func (o *options) fork(how string) error {
	if how != "close" {
		how = "keep"
	}
	_, err := o.start([]string{"-child", how, "-for", o.length.String()}, false)
	return err
}

// again starts this program in a session of its own.
func (o *options) again() (int, error) {
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return arg == "-background" })
	return o.start(args, true)
}

// start starts this program again. Go leaves inherited descriptors open on exec, so a
// child has the run file, as a child of a program in C has.
func (o *options) start(args []string, session bool) (int, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	argv := append([]string{"witness", "-ignore-term=" + strconv.FormatBool(o.ignoreTerm)}, args...)
	child, err := syscall.ForkExec(exe, argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: session},
	})
	if err != nil {
		return 0, fmt.Errorf("cannot start a child: %w", err)
	}
	return child, nil
}

// wipe overwrites the arguments and the environment with a title and zeros, as
// setproctitle(3) and redis-server do. It writes through /proc/self/mem, because Go
// has no pointer to that memory.
func wipe() error {
	s, err := pid.Look(os.Getpid())
	if err != nil {
		return err
	}
	if s.ArgStart == 0 || s.EnvEnd <= s.ArgStart {
		return fmt.Errorf("the kernel doesn't show where arguments and environment lie")
	}
	fd, err := unix.Open("/proc/self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	blank := make([]byte, s.EnvEnd-s.ArgStart)
	copy(blank, "a title: working")
	_, err = unix.Pwrite(fd, blank, int64(s.ArgStart))
	return err
}
