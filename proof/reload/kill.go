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

// Only a request on a connection that a killed worker had accepted is excused. So all
// threads of the victim are stopped first. Then its accepted and still open
// connections are listed, and then it is killed. Requests on connections of living
// workers, and on connections that wait in the socket, must be answered.

// excuses holds the connections that killed workers had accepted, by the client's
// address.
type excuses struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (g *excuses) excused(client string, since time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.at[client]
	return ok && at.After(since) // a later connection may have the same port
}

// kill kills the victim, and notes its connections. It returns false when the victim
// had ended already.
func (g *excuses) kill(victim pid.ID) (bool, error) {
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
		if !stopped(victim) { // lifeline has continued the victim to end it, so try again
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

// stopped reports whether every thread of the process is stopped or has ended.
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

// accepted lists the peers of a process's TCP connections. It copies each socket of the
// process, where that is allowed (pidfd_getfd(2)). Otherwise it reads the kernel's
// table, which takes long when many connections have just been closed.
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

// inTable finds the peers of sockets by the sockets' inodes.
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

// address reads an address of /proc/net/tcp: the words of the IP in the machine's byte
// order, and the port as a number (proc_pid_net(5)).
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

// killed is the result of reloads with kills.
type killed struct {
	row
	old, young int // victims of the old and of the new generation
	rolledBack int // reloads that reported the loss of the new generation
	atEnd      int // generations after the last reload, when nothing changes any more
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
	g := &excuses{at: map[string]time.Time{}}
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
	if err == nil { // wait until the last victim is replaced and the old workers are gone
		err = await("one generation to be left", func() bool {
			k.atEnd = len(s.running(s.webserver))
			return k.atEnd == 1
		})
	}
	k.tally = l.end()
	k.what = "SIGKILL during every tenth reload"
	return k, errors.Join(err, v.end())
}

// settledReload reloads, and tries again while the worker is still starting after a
// kill.
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

// during reloads, and kills a generation at a random moment meanwhile.
func (k *killed) during(v *service, g *excuses, random *rand.Rand) error {
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
	hit, err := g.kill(victim)
	if err == nil && !hit { // the victim had ended by itself, so kill the other generation
		if now := v.running(v.webserver); len(now) > 0 {
			victim = now[len(now)-1]
			hit, err = g.kill(victim)
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
