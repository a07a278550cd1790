//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// peer is a supervisor that keeps one worker up.
type peer struct {
	name  string
	needs string // the program; "" for lifeline
	// prepare writes the peer's files into dir and returns the command line. The worker
	// is dir/run.
	prepare func(dir string) ([]string, error)
	slow    bool // waits a second or more before a start, so its worker is killed once in ten rounds
	how     string
}

// supervisordConf is the shortest configuration that works.
const supervisordConf = `[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%[1]s/pid
[program:web]
command=%[1]s/run
directory=%[1]s
autorestart=true
startsecs=0
startretries=1000000
stdout_logfile=NONE
stderr_logfile=NONE
`

const monitConf = `set daemon 1
set logfile /dev/null
set idfile %[1]s/id
set statefile %[1]s/state
set pidfile %[1]s/monit.pid
check process web matching "%[1]s/run"
	start program = "%[1]s/run"
`

func (b *bench) peers() []peer {
	service := func(program string) func(string) ([]string, error) {
		return func(dir string) ([]string, error) { return []string{look(program), dir}, nil }
	}
	return []peer{
		{name: "lifeline --respawn-delay 0", prepare: func(dir string) ([]string, error) {
			return b.argv(dir, []string{"--respawn", "--respawn-delay", "0s"}, filepath.Join(dir, "run")), nil
		}},
		{name: "runsv", needs: "runsv", prepare: service("runsv"),
			how: "; a worker that lived for less than 1 s waits 1 s on purpose, so all live longer"},
		{name: "s6-supervise", needs: "s6-supervise", prepare: service("s6-supervise"), slow: true,
			how: "; it lets a second pass before each start"},
		{name: "supervise", needs: "supervise", prepare: service("supervise"),
			how: " (daemontools); it pauses for 1 s after each start, on purpose, so all live longer"},
		{name: "supervisord", needs: "supervisord", prepare: func(dir string) ([]string, error) {
			conf := filepath.Join(dir, "conf")
			return []string{look("supervisord"), "-c", conf}, os.WriteFile(conf,
				fmt.Appendf(nil, supervisordConf, dir), 0o600)
		}, slow: true, how: "; startsecs=0, autorestart=true; it looks around once a second"},
	}
}

// monit returns monit as a peer for the table of memory only, because it looks at pid
// files every few seconds.
func (b *bench) monit() peer {
	return peer{name: "monit", needs: "monit", prepare: func(dir string) ([]string, error) {
		conf := filepath.Join(dir, "conf")
		return []string{look("monit"), "-I", "-c", conf}, os.WriteFile(conf, fmt.Appendf(nil, monitConf, dir), 0o600)
	}}
}

// start starts a peer in its own directory with first as the worker, and waits for the
// worker.
func (b *bench) start(p peer) (*subject, error) {
	dir, times, err := b.room()
	if err != nil {
		return nil, err
	}
	if err := os.Link(b.first, filepath.Join(dir, "run")); err != nil {
		return nil, err
	}
	argv, err := p.prepare(dir)
	if err != nil {
		return nil, err
	}
	s, err := start(p.name, dir, times, nil, argv)
	if err != nil {
		return nil, err
	}
	if _, err := s.meet(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}
