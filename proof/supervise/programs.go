//go:build linux

package main

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"lifeline/proof/build"
)

// sources has the workers. They are written in C, because the start of a Go program
// takes longer than what is measured here.
//
//go:embed testdata/*.c
var sources embed.FS

var errNoCompiler = errors.New("gcc is missing: apt-get install gcc")

func newBench() (b *bench, err error) {
	if look("gcc") == "" {
		return nil, errNoCompiler
	}
	dir, err := os.MkdirTemp("", "supervise")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // as /proc/PID/exe shows it
		return nil, err
	}
	b = &bench{dir: dir, lifeline: filepath.Join(dir, "lifeline")}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := build.One(b.lifeline, ".", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		out   *string
		name  string
		flags []string
	}{
		{&b.first, "first", []string{"-nostdlib", "-fno-stack-protector"}},
		{&b.beats, "beats", nil},
		{&b.tree, "tree", nil},
		{&b.floor, "floor", nil},
	} {
		*p.out = filepath.Join(dir, p.name)
		if err := b.compile(p.name, p.flags); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *bench) compile(name string, flags []string) error {
	source, err := sources.ReadFile("testdata/" + name + ".c")
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, name+".c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return err
	}
	args := append([]string{"-O2", "-static", "-Wall", "-Wextra", "-o", filepath.Join(b.dir, name), file}, flags...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot compile %s.c: %w\n%s", name, err, text)
	}
	return nil
}

// room makes a directory for one subject, and opens the FIFO in it that its worker
// writes into.
func (b *bench) room() (dir string, times *os.File, err error) {
	b.nth++
	dir = filepath.Join(b.dir, fmt.Sprintf("room%d", b.nth))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	times, err = fifo(filepath.Join(dir, "times"))
	return dir, times, err
}

// fifo makes a FIFO and opens both its ends, so that a reader never sees end of file.
func fifo(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("cannot make a fifo: %w", err)
	}
	// Non-blocking, so that reads can have a deadline.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the fifo: %w", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// look finds a program; "" when it isn't installed.
func look(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	return path
}

// environ returns this process's environment without the variables of lifeline and of
// a supervisor above.
func environ() []string {
	var kept []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "LIFELINE_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET=") &&
			!strings.HasPrefix(kv, "WATCHDOG_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// machine describes the machine and the programs of the measurement.
func machine(args []string) string {
	var un unix.Utsname
	_ = unix.Uname(&un)
	var versions []string
	for _, pkg := range []string{"runit", "s6", "daemontools", "supervisor", "monit"} {
		if out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output(); err == nil && len(out) > 0 {
			versions = append(versions, pkg+" "+string(out))
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	command := append([]string{"go run ./proof/" + filepath.Base(args[0])}, args[1:]...)
	return fmt.Sprintf("`%s`\n\n%s, %d cores, load %s at the start, Linux %s; %s; %s.\n", strings.Join(command, " "),
		cpu(), runtime.NumCPU(),
		load, unix.ByteSliceToString(un.Release[:]), runtime.Version(), strings.Join(versions, ", "))
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
