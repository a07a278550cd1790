//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// contender is a command that is measured.
type contender struct {
	name string
	argv []string
	env  []string
	code int    // the exit code that shows that it did what is measured
	how  string // a note for the table
}

// shown returns the command without the directory of this run.
func (c contender) shown(dir string) []string {
	var words []string
	for _, w := range c.argv {
		words = append(words, strings.TrimPrefix(w, dir+"/"))
	}
	return words
}

// sample is the wall time of one run.
type sample = time.Duration

// interleave runs each contender once a round, so that all meet the same disturbances.
// The first rounds only warm the caches.
func interleave(contenders []contender, runs int) ([][]sample, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	const warm = 5
	results := make([][]sample, len(contenders))
	for n := range runs + warm {
		for k := range contenders {
			i := (k + n) % len(contenders) // so that no contender always comes after the same contender
			took, err := once(contenders[i], null.Fd())
			if err != nil {
				return nil, err
			}
			if n >= warm {
				results[i] = append(results[i], took)
			}
		}
	}
	return results, nil
}

// once runs c. ForkExec shares this process's memory until the execve (CLONE_VFORK),
// so the time has no copy of the bench in it.
func once(c contender, null uintptr) (sample, error) {
	attr := &syscall.ProcAttr{Env: c.env, Files: []uintptr{null, null, null}}
	began := time.Now()
	child, err := syscall.ForkExec(c.argv[0], c.argv, attr)
	if err != nil {
		return 0, fmt.Errorf("cannot start %s: %w", c.argv[0], err)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(child, &status, 0, nil)
		if err != unix.EINTR {
			break
		}
	}
	took := time.Since(began)
	if !status.Exited() || status.ExitStatus() != c.code {
		return 0, fmt.Errorf("%s ended with %#x, not with exit code %d, so it didn't do what is measured",
			strings.Join(c.argv, " "), status, c.code)
	}
	return took, nil
}

func short(d time.Duration) string {
	if d < 0 {
		return "-" + short(-d)
	}
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
}

// look finds a peer; "" when it isn't installed.
func look(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return ""
	}
	return path
}
