package process

import "golang.org/x/sys/unix"

// Terminal is this process's controlling terminal (tty(4)).
type Terminal struct{ fd int }

// OpenTerminal opens the terminal. It returns nil where there is none, as under cron.
func OpenTerminal() *Terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return &Terminal{fd}
}

// HungUp reports whether the terminal has gone: its window was closed, its connection
// broke, or the session's leader has ended. It returns false for nil.
func (t *Terminal) HungUp() bool {
	if t == nil {
		return false
	}
	_, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err != nil
}

// Foreground reports whether keys such as Ctrl-C reach this process's group
// (tcgetpgrp(3)). It returns false for nil.
func (t *Terminal) Foreground() bool {
	if t == nil {
		return false
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
