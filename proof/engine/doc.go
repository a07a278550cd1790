//go:build linux

// Package engine starts real engines for the proofs of the cluster, and makes the links
// between an engine and a node:
//
//	etcd, err := engine.StartEtcd(dir, 3)
//	defer etcd.Close()
//	link, err := engine.NewLink(etcd.Addresses(), engine.HTTP2)
//	use(link.Addresses())
//	link.Cut(engine.Both) // packets are lost, nothing is reset
//	link.Heal()           // what was held back arrives late, as with TCP
//	etcd.Kill(etcd.Leader())
//
// The engines end with the program that started them.
package engine

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"lifeline/proof/build"
)

// Engine is what the drivers do to an engine.
type Engine interface {
	// Addresses of its members, host:port each.
	Addresses() []string
	// Leader returns the leader's number; -1 when there is none now.
	Leader() int
	// Kill ends a member with SIGKILL.
	Kill(member int)
	// Signal sends another signal to a member.
	Signal(member int, sig syscall.Signal)
	// Start brings a killed member back.
	Start(member int) error
	// Ready waits until requests are served.
	Ready(limit time.Duration) error
	// Close ends the engine for good.
	Close()
}

// start runs cmd so that it ends with this program. The kernel sends the death signal
// when the THREAD that forked ends (prctl(2)), so starts keeps a thread for that.
func start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error)
	starts <- func() { done <- cmd.Start() }
	return <-done
}

var starts = func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

// freePort finds a port below those that the kernel gives to clients, so that a member
// can come back to its own port.
func freePort() (int, error) {
	for range 1000 {
		port := 12000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		return port, nil
	}
	return 0, fmt.Errorf("cannot find a free port")
}

// Find looks for a program: in the environment variable, in bin/ of the module,
// on PATH, in the directories of the distribution.
func Find(variable, name string, more ...string) (string, error) {
	if path := os.Getenv(variable); variable != "" && path != "" {
		return path, nil
	}
	if root, err := build.Root(); err == nil {
		if path := filepath.Join(root, "bin", name); executable(path) {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, pattern := range more {
		paths, _ := filepath.Glob(filepath.Join(pattern, name))
		if len(paths) > 0 && executable(paths[len(paths)-1]) {
			return paths[len(paths)-1], nil
		}
	}
	return "", fmt.Errorf("missing on this machine: %s", name)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
