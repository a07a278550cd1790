package process

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// envAway makes this program the process in between, see [StartDetached]. argv[0] can't
// do this, because an interpreter (binfmt_misc, qemu-user) replaces argv[0] by the path.
const envAway = "LIFELINE_AWAY"

// StartDetached starts this program again in a session of its own, outside every
// worker's tree. The new process gets argv, and files as descriptors from 3 on; standard
// input, output and error are /dev/null. An error inside it must be reported by files.
//
// A process in between starts the new process and ends at once, so the new process has
// another parent. [Adopting] is suspended meanwhile, or this process would be the parent.
func StartDetached(argv, env []string, files []int) error {
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
	pid, err := syscall.ForkExec(self(), argv, &syscall.ProcAttr{Env: env, Files: all,
		Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return fmt.Errorf("cannot start a process: %w", err)
	}
	for { // ECHILD means that the supervisor's loop has reaped the process
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

// IsDetached reports whether this process is the process in between.
func IsDetached() bool { return os.Getenv(envAway) != "" }

// RunDetached does the work of the process in between. It returns the exit code.
func RunDetached() int {
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
