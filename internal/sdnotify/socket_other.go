//go:build unix && !linux

package sdnotify

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// haveCredentials is false, because these systems lack Linux's credentials on
	// datagrams. Every process that reaches the socket is believed, so the socket's
	// directory must be closed to others.
	haveCredentials = false
	maxAddr         = 103 // sun_path is 104 bytes with its NUL
)

var oobSize = unix.CmsgSpace(4 * MaxFds)

// cloexec runs open and makes its descriptor close-on-exec. No child is forked in
// between.
func cloexec(open func() (int, error)) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := open()
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func newSocket() (int, error) {
	fd, err := cloexec(func() (int, error) { return unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) })
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func enableCredentials(int) error { return nil }

func bindAddr(path string) (string, error) {
	if err := checkAddr(path); err != nil {
		return "", err
	}
	if len(path) > maxAddr {
		return "", fmt.Errorf("cannot make the notify socket %s: a socket's path has at most %d bytes here; use a "+
			"shorter directory", path, maxAddr)
	}
	return path, nil
}

func recv(fd int, buf, oob []byte) (datagram, error) {
	syscall.ForkLock.RLock() // received descriptors become close-on-exec one by one
	defer syscall.ForkLock.RUnlock()
	n, oobn, flags, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
	if err != nil {
		return datagram{}, err
	}
	d := datagram{data: buf[:n], truncated: flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0}
	cmsgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		d.truncated = true
	}
	for i := range cmsgs {
		if fds, err := unix.ParseUnixRights(&cmsgs[i]); err == nil {
			d.fds = append(d.fds, fds...)
		}
	}
	for _, fd := range d.fds {
		unix.CloseOnExec(fd)
	}
	return d, nil
}

// exited returns false: without credentials every sender is believed.
func exited(int) bool { return false }

func checkAbstract(addr string) error {
	return fmt.Errorf("cannot use the notify address %s: abstract sockets exist on Linux only; use a path", addr)
}
