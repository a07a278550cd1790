//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// row is one line of the table: a number of new versions under load.
type row struct {
	what    string
	reloads int
	tally   tally
	took    time.Duration
	note    string
}

const rowsHead = `| | new versions | requests | lost | lost per new version | longest wait for an answer | how they were lost |
|---|--:|--:|--:|--:|--:|---|
`

func (r row) String() string {
	per := "0"
	if r.tally.lost > 0 {
		per = fmt.Sprintf("%.1f", float64(r.tally.lost)/float64(max(r.reloads, 1)))
	}
	why := r.tally.why()
	if r.tally.closed > 0 {
		why = strings.TrimPrefix(fmt.Sprintf("%s; %d connections closed by the server between two requests", why,
			r.tally.closed), "; ")
	}
	if r.note != "" {
		why = strings.TrimPrefix(why+"; "+r.note, "; ")
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %s | %s | %s |", r.what, r.reloads, r.tally.requests, r.tally.lost, per,
		r.tally.longest.Round(time.Millisecond), why)
}

// missingError names a program that a comparison needs.
type missingError struct{ program, pkg string }

func (e *missingError) Error() string {
	return fmt.Sprintf("%s is missing on this machine (Debian: apt-get install %s)", e.program, e.pkg)
}

func lacks(program, pkg string) error {
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return nil
		}
	}
	return &missingError{program, pkg}
}

// settle is short, so that a thousand new versions take less than an hour.
const settle = "20ms"

// under calls each n times while clients send requests to the server at address. It
// returns when they have sent the given number of requests.
func under(address string, ask asker, which whichClients, n, requests int, each func(i int) error) (row, error) {
	l := &load{address: address, ask: ask}
	if err := await("a process to listen at "+address, func() bool { return listens(address) }); err != nil {
		return row{}, err
	}
	l.begin(which)
	began := time.Now()
	err := l.answered()
	done := 0
	for ; err == nil && (done < n || l.now().requests < requests); done++ {
		err = each(done)
	}
	took := time.Since(began)
	return row{reloads: done, tally: l.end(), took: took}, err
}

// overlap measures lifeline's reload of the example web server.
func (s *site) overlap(n, requests int) (row, error) {
	address, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	v, err := s.serve("", []string{"--respawn", "--notify", "--settle", settle, "--listen", "tcp://" + address},
		s.webserver)
	if err != nil {
		return row{}, err
	}
	r, err := under(address, echo, eight, n, requests, func(i int) error {
		if i%2 == 0 {
			return v.reload()
		}
		return v.reloadBySignal(s.webserver)
	})
	r.what = "`lifeline reload`, and SIGUSR2 in turn"
	return r, errors.Join(err, v.end())
}

// reload runs lifeline reload, and checks that it worked.
func (v *service) reload() error {
	if text, code := v.command("reload"); code != 0 || !strings.Contains(text, "reloaded, pid ") {
		return fmt.Errorf("lifeline reload: code %d, %s", code, text)
	}
	return nil
}

// reloadBySignal sends SIGUSR2 to lifeline, and waits until a younger generation runs
// and the record names it.
func (v *service) reloadBySignal(program string) error {
	before := v.recorded()
	kill(v.id, unix.SIGUSR2)
	return await("a new generation after SIGUSR2; lifeline said "+v.text(), func() bool {
		now := v.recorded()
		return now != "" && now != before
	})
}

// recorded returns the worker that lifeline's record names.
func (v *service) recorded() string {
	files, _ := filepath.Glob(filepath.Join(v.state, "*.run"))
	if len(files) != 1 {
		return ""
	}
	text, _ := os.ReadFile(files[0])
	return string(text)
}

// restart measures `lifeline restart`, with a socket that lifeline holds open or with a
// worker that opens its own socket.
func (s *site) restart(n int, held bool) (row, error) {
	address, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	options, worker := []string{"--respawn", "--notify"}, []string{s.webserver}
	what := "`lifeline restart`, the socket held open by `--listen`"
	if held {
		options = append(options, "--listen", "tcp://"+address)
	} else {
		worker = append(worker, "-listen", address)
		what = "a plain restart: the old one ends, then the new one opens the socket (`lifeline " +
			"restart` without `--listen`)"
	}
	v, err := s.serve("", options, worker...)
	if err != nil {
		return row{}, err
	}
	r, err := under(address, echo, eight, n, 0, func(int) error {
		if text, code := v.command("restart"); code != 0 {
			return fmt.Errorf("lifeline restart: code %d, %s", code, text)
		}
		return nil
	})
	r.what = what
	return r, errors.Join(err, v.end())
}

// startServer measures Perl's Server::Starter with the same web server.
func (s *site) startServer(n int) (row, error) {
	if err := lacks("start_server", "libserver-starter-perl"); err != nil {
		return row{}, err
	}
	address, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	dir, err := s.sub()
	if err != nil {
		return row{}, err
	}
	// start_server passes the socket by SERVER_STARTER_PORT=ADDRESS=DESCRIPTOR.
	adapter, status := filepath.Join(dir, "adapter"), filepath.Join(dir, "status")
	script := fmt.Sprintf("#!/bin/sh\nfd=${SERVER_STARTER_PORT##*=}\n[ $fd = 3 ] || eval \"exec 3<&$fd "+
		"$fd<&-\"\nLISTEN_PID=$$ LISTEN_FDS=1 exec %s\n", s.webserver)
	if err := os.WriteFile(adapter, []byte(script), 0o700); err != nil {
		return row{}, err
	}
	p, err := s.launch("/usr/bin/start_server", "--port", address, "--status-file", status, "--", adapter)
	if err != nil {
		return row{}, err
	}
	r, err := under(address, echo, eight, n, 0, func(int) error {
		before := generation(status)
		kill(p.id, unix.SIGHUP)
		return await("a new generation of start_server; it said "+p.text(), func() bool {
			now := generation(status)
			return now > before && len(s.running(s.webserver)) == 1
		})
	})
	r.what = "`start_server` (Server::Starter" + version("libserver-starter-perl") + "), SIGHUP"
	r.note = "no readiness: it takes a worker that lives for 1 s as good"
	kill(p.id, unix.SIGTERM)
	_, waitErr := p.wait()
	return r, errors.Join(err, waitErr)
}

// generation returns the youngest generation in start_server's status file.
func generation(path string) (n int) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		var g, worker int
		if k, _ := fmt.Sscanf(line, "%d:%d", &g, &worker); k == 2 {
			n = max(n, g)
		}
	}
	return n
}

func version(pkg string) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output()
	if err != nil || len(out) == 0 {
		return ""
	}
	return " " + string(out)
}

// verdict returns an error for lost requests.
func (r row) verdict() error {
	if r.tally.lost > 0 || r.tally.answered == 0 {
		return fmt.Errorf("%s: %d of %d requests lost: %s", r.what, r.tally.lost, r.tally.requests, r.tally.why())
	}
	return nil
}
