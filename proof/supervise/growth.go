//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// size is what a supervisor uses.
type size struct {
	fds, threads, zombies int
	smaps
}

// measure waits until the process is quiet and returns its size.
func measure(process int) (size, error) {
	var last size
	for deadline, same := time.Now().Add(patience), 0; same < 5; time.Sleep(20 * time.Millisecond) {
		now, err := measureNow(process)
		if err != nil {
			return now, err
		}
		if now.fds == last.fds && now.threads == last.threads && now.zombies == last.zombies {
			same++
		} else {
			same = 0
		}
		last = now
		if time.Now().After(deadline) {
			return last, fmt.Errorf("its size doesn't come to rest: %+v", last)
		}
	}
	return last, nil
}

func measureNow(process int) (s size, err error) {
	if s.fds, err = entries(process, "fd"); err != nil {
		return s, err
	}
	if s.threads, err = entries(process, "task"); err != nil {
		return s, err
	}
	if s.zombies, err = zombies(process); err != nil {
		return s, err
	}
	s.smaps, err = rollup(process)
	return s, err
}

func entries(process int, dir string) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", process, dir))
	return len(list), err
}

// zombies counts the dead children that process hasn't waited for.
func zombies(process int) (n int, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", process))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // that thread has ended
		}
		for child := range strings.FieldsSeq(string(text)) {
			stat, err := os.ReadFile("/proc/" + child + "/stat")
			if err == nil && bytes.Contains(stat, []byte(") Z ")) {
				n++
			}
		}
	}
	return n, nil
}

// respawns lets workers end at once, and measures their supervisor after each number
// of respawns in at.
func (b *bench) respawns(at []int, options ...string) (sizes []size, err error) {
	dir, times, err := b.room()
	if err != nil {
		return nil, err
	}
	gate, err := fifo(filepath.Join(dir, "gate"))
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	s, err := start("lifeline", dir, times, nil, b.argv(dir, append([]string{"--respawn", "--respawn-delay", "0s"},
		options...), b.first))
	if err != nil {
		return nil, err
	}
	defer s.end()
	if _, err := s.meet(); err != nil {
		return nil, err
	}
	done := 0
	for _, n := range at {
		for ; done < n; done++ {
			if _, err := gate.Write([]byte{'.'}); err != nil {
				return nil, err
			}
			if _, err := s.meet(); err != nil {
				return nil, fmt.Errorf("after %d respawns: %w", done, err)
			}
		}
		now, err := measure(s.cmd.Process.Pid)
		if err != nil {
			return nil, fmt.Errorf("after %d respawns: %w", done, err)
		}
		sizes = append(sizes, now)
	}
	return sizes, nil
}

// growth prints the table of a supervisor's size over many respawns.
func (b *bench) growth(o *options) error {
	at := []int{o.respawns / 100, o.respawns / 10, o.respawns}
	began := time.Now()
	sizes, err := b.respawns(at)
	if err != nil {
		return err
	}
	fmt.Printf("\n### Respawns in a row\n\n%d in %s.\n\n| respawns | descriptors | threads | zombies | RSS | PSS | "+
		"of it anonymous | how |\n|--:|--:|--:|--:|--:|--:|--:|---|\n", o.respawns,
		time.Since(began).Round(time.Second))
	for i, s := range sizes {
		fmt.Printf("| %d | %d | %d | %d | %s | %s | %s | /proc of a lifeline at rest, after these respawns |\n",
			at[i], s.fds, s.threads, s.zombies, mb(s.rss), mb(s.pss), mb(s.anon))
	}
	return nil
}
