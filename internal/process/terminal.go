package process

import "golang.org/x/sys/unix"

// Terminal is this process's controlling terminal (tty(4)).
type Terminal struct{ fd int }

// OpenTerminal opens it; nil where there is none, as under cron.
func OpenTerminal() *Terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return &Terminal{fd}
}

// HungUp reports that the terminal has gone: its window was closed, its connection
// broke, or the session's leader has ended. nil has none to lose.
func (t *Terminal) HungUp() bool {
	if t == nil {
		return false
	}
	_, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err != nil
}

// Foreground reports whether this process's group is the one that keys such as
// Ctrl-C reach (tcgetpgrp(3)). nil has no foreground.
func (t *Terminal) Foreground() bool {
	if t == nil {
		return false
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
