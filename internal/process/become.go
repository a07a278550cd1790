package process

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
)

// Become turns this process into the stub and so into the command: no
// supervisor stays. It returns only when that fails.
func Become(spec Spec, yieldCode int) error {
	args := stubArgs{umask: spec.Umask, note: spec.Note, yieldCode: yieldCode}
	if spec.Run != 0 {
		// Above the descriptors a shell script uses by number.
		fd, err := unix.FcntlInt(uintptr(spec.Run), unix.F_DUPFD, 200)
		if err != nil {
			fd, err = unix.FcntlInt(uintptr(spec.Run), unix.F_DUPFD, 10)
		}
		if err != nil {
			return fmt.Errorf("cannot pass on the run file: %w", err)
		}
		args.run = fd
	}
	if spec.Dir != "" {
		if err := os.Chdir(spec.Dir); err != nil {
			return fmt.Errorf("cannot change to the directory %s: %w", spec.Dir, err)
		}
	}
	for to, from := range spec.Stdio {
		if from == to || spec.Stdio == [3]int{} {
			continue
		}
		if err := dup(from, to); err != nil {
			return fmt.Errorf("cannot lead the command's output elsewhere: %w", err)
		}
	}
	crash.Point("become.exec")
	err := syscall.Exec(self(), append(args.argv(), spec.Argv...), spec.Env)
	return startError(spec, err)
}

// failAlone is for a stub without a supervisor: stepping back is silent, as a
// tick that finds an instance is.
func (a stubArgs) failAlone(err error, code int) int {
	if strings.HasPrefix(err.Error(), "yield ") {
		return a.yieldCode
	}
	fmt.Fprintf(os.Stderr, "lifeline: %s: %v\n", os.Getenv("LIFELINE_NAME"), err)
	return code
}
