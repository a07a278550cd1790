//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// backlog checks that connections wait in the socket while no worker runs, and
// are answered by the next worker.
func (s *site) backlog(n int, tell func(format string, args ...any)) error {
	at, err := freeAddress()
	if err != nil {
		return err
	}
	v, err := s.serve("", []string{"--respawn", "--respawn-delay", "1s", "--notify", "--listen", "tcp://" + at},
		s.webserver)
	if err != nil {
		return err
	}
	err = await("the first worker", func() bool { return len(s.running(s.webserver)) == 1 && listens(at) })
	for range n {
		if err != nil {
			break
		}
		err = s.withoutWorker(at)
	}
	if err == nil {
		tell("%d times 16 connections made while no worker ran (`--respawn-delay 1s`): all answered by the next one", n)
	}
	return errors.Join(err, v.end())
}

// withoutWorker kills the worker, connects and sends requests while no worker runs, and
// checks that every request is answered.
func (s *site) withoutWorker(at string) error {
	// An answered request shows that the worker was up before it is killed.
	l := &load{address: at, ask: echo}
	l.begin(whichClients{0, 1})
	err := l.answered()
	if t := l.end(); err != nil || t.lost > 0 {
		return errors.Join(err, fmt.Errorf("before anything was killed, %d requests were lost: %s", t.lost, t.why()))
	}
	for _, id := range s.running(s.webserver) {
		kill(id, unix.SIGKILL)
	}
	if err := await("the worker to be gone", func() bool { return len(s.running(s.webserver)) == 0 }); err != nil {
		return err
	}
	waiting := make([]*client, 16)
	done := make(chan error, len(waiting))
	l = &load{address: at, ask: echo}
	for i := range waiting {
		waiting[i] = &client{load: l, number: i}
		if err := waiting[i].connect(); err != nil {
			return fmt.Errorf("a connection while no worker runs: %w", err)
		}
		defer waiting[i].drop()
	}
	// No worker was there to accept them, unless the machine was suspended
	// meanwhile.
	alone := len(s.running(s.webserver)) == 0
	for _, c := range waiting {
		go func() {
			_, err := c.exchange(0)
			done <- err
		}()
	}
	for range waiting {
		err = errors.Join(err, <-done)
	}
	if err == nil && !alone {
		return s.withoutWorker(at)
	}
	return err
}

// unixSocket checks the socket's file from its creation to its removal.
func (s *site) unixSocket(tell func(format string, args ...any)) error {
	dir, err := s.sub()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "x.sock")
	listen, mode, owner := "unix://"+path+"?mode=0640", os.FileMode(0o640), uint32(os.Getuid())
	if os.Getuid() == 0 {
		listen, owner = listen+"&owner=nobody:nogroup", 65534
	}
	v, err := s.serve("", []string{"--respawn", "--notify", "--settle", settle, "--listen", listen}, s.webserver)
	if err != nil {
		return err
	}
	born, err := s.socketFile(path, mode, owner)
	if err == nil {
		err = s.askUnix(path)
	}
	if err == nil {
		if err = v.settledReload(); err == nil {
			err = s.askUnix(path)
		}
	}
	if err != nil {
		return errors.Join(err, v.end())
	}
	// The file stays after lifeline is killed.
	kill(v.id, unix.SIGKILL)
	if _, err := v.wait(); err != nil {
		return err
	}
	if err := await("the worker to notice", func() bool { return len(s.running(s.webserver)) == 0 }); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err != nil {
		return fmt.Errorf("there is no stale file to deal with: %w", err)
	}
	next, err := v.tick()
	if err != nil {
		return err
	}
	if err := await("a new socket", func() bool {
		now, err := s.socketFile(path, mode, owner)
		return err == nil &&
			now.After(born)
	}); err != nil {
		return errors.Join(fmt.Errorf("%w; lifeline said: %s", err, next.text()), next.end())
	}
	err = errors.Join(s.askUnix(path), next.end())
	if _, statErr := os.Lstat(path); err == nil && !errors.Is(statErr, os.ErrNotExist) {
		err = fmt.Errorf("the file is there after the end: %v", statErr)
	}
	if err == nil {
		tell("a unix socket: mode %o and owner as asked for, served before and after a reload, stale after SIGKILL of "+
			"lifeline and made again by the next tick, gone at the end", mode)
	}
	return err
}

// socketFile waits for the file, and checks its mode and owner.
func (s *site) socketFile(path string, mode os.FileMode, owner uint32) (born time.Time, err error) {
	if err := await("the socket's file", func() bool { _, err := os.Lstat(path); return err == nil }); err != nil {
		return born, err
	}
	var st os.FileInfo
	err = await("its mode and owner", func() bool {
		st, err = os.Lstat(path)
		return err == nil && st.Mode().Type() == os.ModeSocket && st.Mode().Perm() == mode &&
			st.Sys().(*syscall.Stat_t).Uid == owner
	})
	if err != nil {
		return born, fmt.Errorf("%w; it is %s", err, st.Mode())
	}
	return st.ModTime(), nil // not the inode, because inodes are reused
}

func (s *site) askUnix(path string) error {
	l := &load{address: path, ask: echo}
	l.begin(whichClients{1, 1})
	err := l.answered()
	if t := l.end(); t.lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d requests to %s lost: %s", t.lost, t.requests, path, t.why()))
	}
	return err
}

// handedOver checks that the first worker and the next generation have three sockets in
// their order and with their names. LISTEN_PID must be the command's own pid.
func (s *site) handedOver(tell func(format string, args ...any)) error {
	dir, err := s.sub()
	if err != nil {
		return err
	}
	var addresses []string
	for range 2 {
		at, err := freeAddress()
		if err != nil {
			return err
		}
		addresses = append(addresses, at)
	}
	// A script, which execs another program after lifeline has started it.
	out := filepath.Join(dir, "out")
	script, err := s.newApp(fmt.Sprintf("#!/bin/sh\necho $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES $(readlink "+
		"/proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5) >>%s\nexec %s -ready\n", out, s.single))
	if err != nil {
		return err
	}
	v, err := s.serve("", []string{"--notify", "--settle", settle, "--listen", "tcp://" + addresses[0], "--listen",
		"admin=tcp://" + addresses[1],
		"--listen", "local=unix://" + filepath.Join(dir, "y.sock")}, script.path)
	if err != nil {
		return err
	}
	generations := func() [][]string {
		text, _ := os.ReadFile(out)
		var all [][]string
		for line := range strings.Lines(string(text)) {
			all = append(all, strings.Fields(line))
		}
		return all
	}
	err = await("the first worker", func() bool { return len(generations()) == 1 })
	if err == nil {
		err = v.settledReload()
	}
	if got := generations(); err == nil {
		err = wantSockets(got, addresses)
	}
	if err == nil {
		tell("three sockets, `LISTEN_FDNAMES=listen:admin:local`, `LISTEN_PID` the command's own, the very same " +
			"sockets in the next generation")
	}
	return errors.Join(err, v.end())
}

func wantSockets(got [][]string, addresses []string) error {
	if len(got) != 2 || len(got[0]) != 7 || len(got[1]) != 7 {
		return fmt.Errorf("the workers report %q", got)
	}
	for _, g := range got {
		if g[0] != g[1] || g[2] != "3" || g[3] != "listen:admin:local" {
			return fmt.Errorf("a worker reports %q: pid, LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES", g[:4])
		}
	}
	if !slices.Equal(got[0][4:], got[1][4:]) {
		return fmt.Errorf("the next generation has %q, not %q", got[1][4:], got[0][4:])
	}
	for i, at := range addresses {
		inode, err := listenerOf(at)
		if err != nil {
			return err
		}
		if got[0][4+i] != "socket:["+inode+"]" {
			return fmt.Errorf("descriptor %d is %s, not the listener at %s", 3+i, got[0][4+i], at)
		}
	}
	return nil
}

// listenerOf finds the inode of an address's listener in the kernel's table.
func listenerOf(at string) (inode string, err error) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", err
	}
	_, want, _ := net.SplitHostPort(at)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil && strconv.Itoa(int(port)) == want {
			return f[9], nil
		}
	}
	return "", fmt.Errorf("no process listens at %s", at)
}

func backlogMode(s *site, n int, _ uint64) error {
	fmt.Printf("\n### Sockets that stay open\n\n")
	return errors.Join(s.backlog(or(n, 10), bullet), s.unixSocket(bullet), s.handedOver(bullet))
}
