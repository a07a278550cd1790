package tasks

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// unnamedFile returns the descriptor of a memory file that holds text, for the next
// program in this process.
func unnamedFile(text []byte) (int, error) {
	fd, err := unix.MemfdCreate("lifeline", 0) // open across execve
	if err != nil {
		return 0, fmt.Errorf("cannot make a file for the state: %w", err)
	}
	if _, err := unix.Write(fd, text); err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("cannot write the state down: %w", err)
	}
	return fd, nil
}
