package sdnotify

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	haveCredentials = true
	maxAddr         = 107 // sun_path is 108 bytes with its NUL (unix(7))
)

var oobSize = unix.CmsgSpace(unix.SizeofUcred) + unix.CmsgSpace(4*MaxFds)

func newSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}

// enableCredentials makes the kernel add credentials. It is called before bind, so every
// message has them.
func enableCredentials(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
}

// bindAddr replaces a path that is too long by an abstract address. It is random, so
// that no other process can take it first. Binding through /proc/self/fd would make the
// file, but no client could name it.
func bindAddr(path string) (string, error) {
	if err := checkAddr(path); err != nil {
		return "", err
	}
	if len(path) <= maxAddr {
		return path, nil
	}
	// Importing crypto/rand, with its self-tests, would slow every start of lifeline.
	// getrandom(2) returns 16 bytes whole.
	var b [16]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return "", fmt.Errorf("cannot choose a notify address: %w; use a shorter directory", err)
	}
	return fmt.Sprintf("@lifeline/notify/%x", b), nil
}

// recv reads one datagram without waiting. It uses MSG_DONTWAIT, because other owners of
// an inherited socket may clear O_NONBLOCK.
func recv(fd int, buf, oob []byte) (datagram, error) {
	n, oobn, flags, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return datagram{}, err
	}
	d := datagram{data: buf[:n], truncated: flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0}
	// This process also owns the descriptors in truncated control data.
	cmsgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		d.truncated = true
	}
	for i := range cmsgs {
		c := &cmsgs[i]
		if c.Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch c.Header.Type {
		case unix.SCM_RIGHTS:
			if fds, err := unix.ParseUnixRights(c); err == nil {
				d.fds = append(d.fds, fds...)
			}
		case unix.SCM_CREDENTIALS:
			if cred, err := unix.ParseUnixCredentials(c); err == nil {
				d.sender = Sender{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid, Known: true}
			}
		}
	}
	return d, nil
}

// exited reports whether a process is gone or a zombie.
func exited(pid int) bool {
	if unix.Kill(pid, 0) == unix.ESRCH {
		return true
	}
	// proc_pid_stat(5): "pid (comm) state …"; comm may hold anything.
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(stat, ')')
	return i > 0 && i+2 < len(stat) && bytes.IndexByte([]byte("ZXx"), stat[i+2]) >= 0
}

func checkAbstract(string) error { return nil }
