//go:build linux

package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// What is counted when workers are killed: a client begins every request on a
// connection, which belongs to the worker that has accepted it. The victim is
// stopped first, all its threads; then the kernel's table tells which
// connections it has accepted and not closed; then it is killed. A request that
// fails on exactly one of these is excused. Every other request must be
// answered: on connections that a living worker has accepted, and on those that
// waited in the socket.

// graves remembers the connections that were taken to the grave, by the
// client's address.
type graves struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (g *graves) excused(client string, since time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.at[client]
	return ok && at.After(since) // the same port again is another connection
}

// bury kills the victim; false when it had ended already.
func (g *graves) bury(victim pid.ID) (bool, error) {
	h, err := pid.Open(victim)
	if errors.Is(err, pid.ErrGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer h.Close()
	for range 100 {
		h.Signal(unix.SIGSTOP)
		if err := await("the victim to stop", func() bool { return h.Dead() || stopped(victim) }); err != nil {
			return false, err
		}
		peers, err := accepted(victim.PID)
		if h.Dead() {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		g.mu.Lock()
		for _, p := range peers {
			g.at[p] = time.Now()
		}
		if !stopped(victim) { // lifeline has woken it up, to end it: once more
			for _, p := range peers {
				delete(g.at, p)
			}
			g.mu.Unlock()
			continue
		}
		h.Signal(unix.SIGKILL)
		g.mu.Unlock()
		h.Wait()
		return true, nil
	}
	return false, fmt.Errorf("pid %d doesn't stay stopped", victim.PID)
}

// stopped reports that no thread of it runs.
func stopped(id pid.ID) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", id.PID))
	for _, f := range files {
		text, err := os.ReadFile(f)
		at := bytes.LastIndexByte(text, ')')
		if err == nil && (at < 0 || at+2 >= len(text) || text[at+2] != 'T') {
			return false
		}
	}
	return len(files) > 0
}

// accepted lists the other ends of the TCP connections that a process has. It
// copies each of its sockets, where that is allowed (pidfd_getfd(2)). Else it
// reads the kernel's table, which takes long when many connections have just
// been closed.
func accepted(process int) ([]string, error) {
	fd, err := unix.PidfdOpen(process, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", process))
	sockets := map[string]bool{}
	var peers []string
	for _, l := range links {
		to, _ := os.Readlink(l)
		inode, ok := strings.CutPrefix(to, "socket:[")
		if !ok {
			continue
		}
		sockets[strings.TrimSuffix(inode, "]")] = true
		n, _ := strconv.Atoi(filepath.Base(l))
		socket, err := unix.PidfdGetfd(fd, n, 0)
		if err != nil {
			continue
		}
		name, err := unix.Getpeername(socket)
		unix.Close(socket)
		if in, ok := name.(*unix.SockaddrInet4); ok && err == nil {
			peers = append(peers, net.JoinHostPort(net.IP(in.Addr[:]).String(), strconv.Itoa(in.Port)))
		}
		delete(sockets, strings.TrimSuffix(inode, "]"))
	}
	if len(sockets) == 0 {
		return peers, nil
	}
	rest, err := inTable(sockets)
	return append(peers, rest...), err
}

// inTable finds the other ends of sockets by their inodes.
func inTable(sockets map[string]bool) (peers []string, err error) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || !sockets[f[9]] || f[3] == "0A" { // LISTEN
				continue
			}
			peer, err := address(f[2])
			if err != nil {
				return nil, err
			}
			peers = append(peers, peer)
		}
	}
	return peers, nil
}

// address reads proc_net_tcp's: the words of the IP in the machine's order,
// the port as a number (proc_pid_net(5)).
func address(text string) (string, error) {
	ip, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(ip)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(raw)%4 != 0 {
		return "", fmt.Errorf("cannot understand the address %q", text)
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	return net.JoinHostPort(net.IP(raw).String(), strconv.Itoa(int(n))), nil
}

// killed is what came of it.
type killed struct {
	row
	old, young int // victims: of the old generation, of the new one
	rolledBack int // reloads that said that the new one was lost
	atEnd      int // generations after the last reload, when all is at rest
}

func (k killed) String() string {
	return fmt.Sprintf("| %d | %d (%d old, %d new) | %d | %d | %d | %d | %d | %s |", k.reloads, k.old+k.young, k.old,
		k.young, k.rolledBack,
		k.tally.requests, k.tally.excused, k.tally.lost, k.atEnd, k.tally.why())
}

const killedHead = `| reloads | generations killed | rolled back | requests | on a killed worker's connection | others lost | generations at the end | how they were lost |
|--:|--:|--:|--:|--:|--:|--:|---|
`

func (k killed) verdict() error {
	if err := k.row.verdict(); err != nil {
		return err
	}
	if k.atEnd != 1 || k.old+k.young == 0 {
		return fmt.Errorf("%d kills, %d generations at the end", k.old+k.young, k.atEnd)
	}
	return nil
}

// killing kills a random generation during every tenth reload.
func (s *site) killing(n, requests int, random *rand.Rand) (k killed, err error) {
	at, err := freeAddress()
	if err != nil {
		return k, err
	}
	v, err := s.serve("", []string{"--respawn", "--respawn-delay", "10ms", "--notify", "--settle", "100ms", "--listen",
		"tcp://" + at}, s.webserver)
	if err != nil {
		return k, err
	}
	g := &graves{at: map[string]time.Time{}}
	l := &load{address: at, ask: echo, excused: g.excused}
	if err = await("a process to listen at "+at, func() bool { return listens(at) }); err != nil {
		return k, err
	}
	l.begin(eight)
	err = l.answered()
	for ; err == nil && (k.reloads < n || l.now().requests < requests); k.reloads++ {
		if k.reloads%10 != 9 {
			err = v.settledReload()
			continue
		}
		err = k.during(v, g, random)
	}
	if err == nil { // what was killed last is replaced, what drains is gone
		err = await("one generation to be left", func() bool {
			k.atEnd = len(s.running(s.webserver))
			return k.atEnd == 1
		})
	}
	k.tally = l.end()
	k.what = "SIGKILL during every tenth reload"
	return k, errors.Join(err, v.end())
}

// settledReload is one that has nothing in its way; right after a kill the
// worker may be on its way up yet.
func (v *service) settledReload() error {
	for {
		text, code := v.command("reload")
		switch {
		case code == 0:
			return nil
		case strings.Contains(text, "still starting"), strings.Contains(text, "is being ended"):
			<-time.After(time.Millisecond)
		default:
			return fmt.Errorf("lifeline reload: code %d, %s", code, text)
		}
	}
}

// during is a reload with a murder in it, at a random moment.
func (k *killed) during(v *service, g *graves, random *rand.Rand) error {
	var old pid.ID
	err := await("a worker to replace", func() bool {
		now := v.running(v.webserver)
		if len(now) > 0 {
			old = now[len(now)-1]
		}
		return len(now) > 0
	})
	if err != nil {
		return err
	}
	type outcome struct {
		text string
		code int
	}
	done := make(chan outcome, 1)
	go func() {
		text, code := v.command("reload")
		done <- outcome{text, code}
	}()
	victim, young := old, random.IntN(2) == 0
	if young {
		err := await("a new generation", func() bool {
			if now := v.running(v.webserver); len(now) > 0 {
				victim = now[len(now)-1]
			}
			return victim != old || len(done) > 0
		})
		if err != nil {
			return err
		}
	}
	<-time.After(time.Duration(random.IntN(120)) * time.Millisecond)
	hit, err := g.bury(victim)
	if err == nil && !hit { // it had ended by itself: the other one, then
		if now := v.running(v.webserver); len(now) > 0 {
			victim = now[len(now)-1]
			hit, err = g.bury(victim)
		}
	}
	switch {
	case err != nil:
		return err
	case hit && victim == old:
		k.old++
	case hit:
		k.young++
	}
	o := <-done
	switch {
	case o.code == 0, strings.Contains(o.text, "still starting"), strings.Contains(o.text, "is being ended"):
		return nil
	case strings.Contains(o.text, "rolled back, the old one goes on: the new one: the command was killed by SIGKILL"):
		k.rolledBack++
		return nil
	}
	return fmt.Errorf("lifeline reload during a kill: code %d, %s", o.code, o.text)
}
