package process

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// envAway makes this program the process in between, see [StartDetached]. argv[0]
// can't: where the kernel runs programs through an interpreter (binfmt_misc,
// qemu-user), it is the file's path.
const envAway = "LIFELINE_AWAY"

// StartDetached starts this program once more in a session of its own, outside of
// every worker's tree. argv are its arguments, and files its descriptors from 3 on;
// standard input, output and error are /dev/null. The new process reports by one of
// files how it went.
//
// A process in between, which ends at once, takes the parent away. Where [Adopting]
// is in force this process would be the parent then, so that is set aside meanwhile.
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
	for { // ECHILD: the loop has reaped it, and it is as gone
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

// IsDetached reports that this process is the one in between.
func IsDetached() bool { return os.Getenv(envAway) != "" }

// RunDetached is the work of the process in between. It returns the exit code.
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
