package cluster

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/process"
	"lifeline/procscan"
)

// start runs lifeline-remote with one end of a socketpair. lifeline-remote has a process
// group of its own, because a Ctrl-C is for lifeline alone. It has no death signal,
// because it outlives a killed lifeline until the worker has ended and the lease is
// given back.
func start(program string) (io.ReadWriteCloser, procscan.ID, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, procscan.ID{}, fmt.Errorf("cannot make a socket: %w", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	_ = unix.SetNonblock(fds[0], true)
	ours, theirs := os.NewFile(uintptr(fds[0]), "lifeline-remote"), os.NewFile(uintptr(fds[1]), "lifeline")
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		ours.Close()
		return nil, procscan.ID{}, err
	}
	defer null.Close()
	proc, err := os.StartProcess(program, []string{Program, "hold"}, &os.ProcAttr{
		Files: []*os.File{null, os.Stderr, os.Stderr, theirs},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		ours.Close()
		return nil, procscan.ID{}, err
	}
	id := procscan.ID{PID: proc.Pid}
	if s, err := procscan.Lookup(proc.Pid); err == nil {
		id = s.ID
	}
	_ = proc.Release() // the supervisor's loop reaps it, as it does all children
	return ours, id, nil
}

func kill(id procscan.ID) { process.Send(id, unix.SIGKILL) }

// reap takes the exit status of a lifeline-remote that Close has ended, when the
// supervisor's loop reaps no more.
func reap(id procscan.ID) {
	for range 100 {
		if pid, err := unix.Wait4(id.PID, nil, unix.WNOHANG, nil); pid == id.PID || err == unix.ECHILD {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
