//go:build linux

// Peer runs the witness under the algorithms that lifeline is compared with. It decides
// whether to start, and then becomes the witness with its own arguments. In the gem,
// too, the process that has looked runs the guarded block.
//
//	PEER=gem WITNESS=/path/to/witness peer -log L -lock F
//
// The algorithms, written from their descriptions:
//
//	gem   `ps ax -o pid,command`; another process with exactly the command
//	      line that ps shows for this process: give up
//	scan  look for a running witness in the process table; none: start
//	pidfile  a file with the pid of the last witness, and kill(pid, 0)
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	free, err := look(os.Getenv("PEER"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(125)
	}
	if !free {
		return
	}
	err = syscall.Exec(os.Getenv("WITNESS"), os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "peer: cannot become the witness:", err)
	os.Exit(126)
}

func look(how string) (free bool, err error) {
	switch how {
	case "gem":
		return gem()
	case "scan":
		return scan(os.Getenv("WITNESS"))
	case "pidfile":
		return pidfile(os.Getenv("PIDFILE"))
	}
	return false, fmt.Errorf("PEER=%q is none of gem, scan, pidfile", how)
}

func gem() (bool, error) {
	text, err := exec.Command("ps", "ax", "-o", "pid,command").Output()
	if err != nil {
		return false, fmt.Errorf("cannot run ps: %w", err)
	}
	commands := map[int]string{}
	for line := range strings.Lines(string(text)) {
		number, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(number); err == nil {
			commands[n] = command
		}
	}
	own, ok := commands[os.Getpid()]
	if !ok {
		return false, fmt.Errorf("ps doesn't show this process")
	}
	for n, command := range commands {
		if n != os.Getpid() && command == own {
			return false, nil
		}
	}
	return true, nil
}

func scan(witness string) (bool, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && exe == witness {
			return false, nil
		}
	}
	return true, nil
}

func pidfile(path string) (bool, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && unix.Kill(n, 0) != unix.ESRCH {
			return false, nil
		}
	}
	return true, os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600)
}
