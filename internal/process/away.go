package process

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// envAway makes this program the one in between, see [Away]. argv[0] couldn't:
// where the kernel runs programs through an interpreter (binfmt_misc,
// qemu-user), it is the file's path.
const envAway = "LIFELINE_AWAY"

// Away starts this program once more, as a process that isn't a child of this
// one and no part of any worker's tree: in a session of its own, its parent
// gone. argv is its own; files are its descriptors from 3 on, and standard
// input, output and error lead nowhere. What becomes of it, it has to tell by
// one of them.
//
// The parent that goes is this program too, for an instant. Whoever has said
// [Adopting] would get its child: that is set aside meanwhile.
func Away(argv, env []string, files []int) error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/null: %w", err)
	}
	defer unix.Close(null)
	all := []uintptr{uintptr(null), uintptr(null), uintptr(null)}
	for _, fd := range files {
		all = append(all, uintptr(fd))
	}
	defer notAdopting()()
	env = append(slices.Clip(env), envAway+"="+strconv.Itoa(len(files)))
	pid, err := syscall.ForkExec(self(), argv, &syscall.ProcAttr{Env: env, Files: all, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return fmt.Errorf("cannot start a process: %w", err)
	}
	for { // ECHILD: the loop has reaped it, and it is as gone
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

// IsAway reports that this process is the one in between.
func IsAway() bool { return os.Getenv(envAway) != "" }

// RunAway is its work; it gives the exit code.
func RunAway() int {
	n, err := strconv.Atoi(os.Getenv(envAway))
	if err != nil || os.Unsetenv(envAway) != nil {
		return 125
	}
	files := make([]uintptr, 3+n)
	for i := range files {
		files[i] = uintptr(i)
	}
	if _, err := syscall.ForkExec(self(), os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: files}); err != nil {
		return 125
	}
	return 0
}
