//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// crowd is many processes that only sleep. They have a parent and a session of their
// own, as cron's jobs do. As siblings of ten thousand processes the contenders would
// be slower (an empty Go program by two milliseconds).
type crowd struct {
	cmd  *exec.Cmd
	hold io.Closer // the crowd ends when it is closed
}

// crowdArg is how the bench starts itself as the crowd's parent.
const crowdArg = "crowd-of"

// gather fills the process table up to size processes.
func gather(size int) (*crowd, error) {
	missing := size - processes()
	if missing <= 0 {
		return &crowd{}, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, crowdArg, strconv.Itoa(missing))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the crowd: %w", err)
	}
	c := &crowd{cmd, hold}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		c.disperse()
		return nil, fmt.Errorf("cannot gather %d processes", size)
	}
	return c, nil
}

// disperse ends the crowd, and returns when its processes are gone.
func (c *crowd) disperse() {
	if c.cmd == nil {
		return
	}
	_ = c.hold.Close()
	_ = c.cmd.Wait()
}

// beCrowd does the work of the crowd's parent until its standard input ends, at the
// latest with the bench.
func beCrowd(text string) error {
	size, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	argv := []string{look("sleep"), "86400"}
	if busybox := look("busybox"); busybox != "" { // a smaller program
		argv = []string{busybox, "sleep", "86400"}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}} // main holds the thread
	var kids []int
	// These pids belong to unreaped children of this process, and to no other process.
	defer func() {
		for _, child := range kids {
			_ = unix.Kill(child, unix.SIGKILL)
		}
		for _, child := range kids {
			for {
				if _, err := unix.Wait4(child, nil, 0, nil); err != unix.EINTR {
					break
				}
			}
		}
	}()
	for range size {
		child, err := syscall.ForkExec(argv[0], argv, attr)
		if err != nil {
			return fmt.Errorf("cannot start %s: the limit came after %d of %d: %w; raise ulimit -u and "+
				"kernel.pid_max, or take a smaller -crowd",
				strings.Join(argv, " "), len(kids), size, err)
		}
		kids = append(kids, child)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// processes counts the processes of this machine.
func processes() int {
	dir, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	n := 0
	for _, name := range names {
		if _, err := strconv.Atoi(name); err == nil {
			n++
		}
	}
	return n
}
