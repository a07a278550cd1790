//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lifeline/proof/check"
)

// taken is the result of reloads of a worker that may never be active twice.
type taken struct {
	what    string
	reloads int
	report  *check.Report
}

func (t taken) String() string {
	return fmt.Sprintf("| %s | %d | %d | %d | %s | %s | %s |", t.what, t.reloads,
		len(t.report.Lives), t.report.Overlaps,
		short(t.report.Median()), short(t.report.P99()), short(t.report.Longest().Length()))
}

const takenHead = `| worker | takeovers | starts | overlaps | without an active worker: p50 | p99 | longest |
|---|--:|--:|--:|--:|--:|--:|
`

func short(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func (t taken) verdict() error {
	if t.report.Overlaps > 0 {
		return fmt.Errorf("%s: %d overlaps: %v", t.what, t.report.Overlaps, t.report.Evidence)
	}
	if len(t.report.Lives) != t.reloads+1 {
		return fmt.Errorf("%s: %d starts in %d takeovers", t.what, len(t.report.Lives), t.reloads)
	}
	return nil
}

// takeover reloads a worker that is its own witness, n times. A scripted worker
// is a shell script with `lifeline takeover` in front of the witness; otherwise
// the worker speaks the protocol itself.
func (s *site) takeover(n int, scripted bool) (t taken, err error) {
	dir, err := s.sub()
	if err != nil {
		return t, err
	}
	log, lock := filepath.Join(dir, "log"), filepath.Join(dir, "lock")
	t.what = "a program that says `takeover` itself"
	worker := []string{s.single, "-log", log, "-lock", lock, "-takeover", "-ready"}
	if scripted {
		t.what = "a shell script: `lifeline takeover && exec worker`"
		script := filepath.Join(dir, "script")
		text := fmt.Sprintf("#!/bin/sh\nlifeline takeover && exec %s -log %s -lock %s -ready\n", s.single, log, lock)
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			return t, err
		}
		worker = []string{script}
	}
	watch, err := check.Follow(log)
	if err != nil {
		return t, err
	}
	v, err := s.serve("", []string{"--respawn", "--notify", "--kill-after", "20s"}, worker...)
	if err != nil {
		return t, err
	}
	err = await("the first start", func() bool { return watch.Started() == 1 })
	for ; err == nil && t.reloads < n; t.reloads++ {
		// For lifeline the worker is up at its READY, which comes after its line "start".
		if err = v.settledReload(); err == nil {
			err = await("the new one to be active", func() bool { return watch.Started() == t.reloads+2 })
		}
	}
	err = errors.Join(err, v.end())
	var closeErr error
	t.report, closeErr = watch.Close()
	return t, errors.Join(err, closeErr)
}

// takeoverUnderLoad reloads the web server as a singleton. Requests wait in the socket
// while no worker runs.
func (s *site) takeoverUnderLoad(n int) (row, error) {
	dir, err := s.sub()
	if err != nil {
		return row{}, err
	}
	at, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	v, err := s.serve("", []string{"--respawn", "--notify", "--listen", "tcp://" + at}, s.webserver, "-takeover",
		filepath.Join(dir, "lock"))
	if err != nil {
		return row{}, err
	}
	r, err := under(at, echo, eight, n, 0, func(int) error { return v.settledReload() })
	r.what = "the web server with `-takeover`: never two, requests wait"
	return r, errors.Join(err, v.end())
}
