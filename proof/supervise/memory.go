//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lifeline/proof/pid"
)

// smaps is what a process uses of the machine's memory, in bytes.
type smaps struct{ rss, pss, anon int64 }

// rollup reads /proc/PID/smaps_rollup. The proportional set size counts a page that n
// processes share as 1/n of a page. Anonymous pages belong to no file, so only swap
// can free them.
func rollup(process int) (m smaps, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", process))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "Rss:":
			m.rss = kb << 10
		case "Pss:":
			m.pss = kb << 10
		case "Pss_Anon:":
			m.anon = kb << 10
		}
	}
	return m, nil
}

// memory prints the table of the supervisors' memory.
func (b *bench) memory(o *options) error {
	fmt.Printf("\n### Memory of one supervisor (proportional set size)\n\n| | one | of it anonymous | mean of ten | " +
		"of it anonymous | how |\n|---|--:|--:|--:|--:|---|\n")
	ours := func(name, beats, how string) peer {
		return peer{name: name, prepare: func(dir string) ([]string, error) {
			return b.argv(dir, []string{"--respawn", "--notify"}, b.beats, "1000", beats), nil
		}, how: how}
	}
	list := []peer{
		ours("lifeline --respawn --notify", "1", "5 s after the worker's READY=1; it is silent from then on, as the "+
			"peers' are"),
		ours("the same, with a heartbeat every second", "0", "5 s after the worker's READY=1"),
	}
	for _, p := range b.peers() {
		if p.needs != "" {
			p.how = "5 s after the worker's start"
			list = append(list, p)
		}
	}
	m := b.monit()
	m.how = "5 s after its start; it looks every second; one of them watches many"
	for _, p := range append(list, m) {
		if p.needs != "" && look(p.needs) == "" {
			fmt.Printf("| %s | | | | | not installed: left out |\n", p.name)
			continue
		}
		if p.needs == "supervisord" {
			p.how += "; one of them watches many"
		}
		var subjects []*subject
		var one, ten smaps
		err := func() error {
			defer func() {
				for _, s := range subjects {
					s.end()
				}
			}()
			for n := range 10 {
				s, err := b.start(p)
				if err != nil {
					return err
				}
				subjects = append(subjects, s)
				if n == 0 || n == 9 {
					time.Sleep(5 * time.Second)
				}
				if n == 0 {
					if one, err = rollup(s.cmd.Process.Pid); err != nil {
						return err
					}
				}
			}
			for _, s := range subjects {
				m, err := rollup(s.cmd.Process.Pid)
				if err != nil {
					return err
				}
				ten.pss += m.pss / 10
				ten.anon += m.anon / 10
			}
			return nil
		}()
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %s | %s | %s | Pss and Pss_Anon of /proc/PID/smaps_rollup, %s |\n", p.name, mb(one.pss),
			mb(one.anon), mb(ten.pss), mb(ten.anon), p.how)
	}
	return b.nothingStays()
}

// nothingStays checks that --exec leaves no supervisor to measure.
func (b *bench) nothingStays() error {
	s, err := b.start(peer{name: "lifeline --exec", prepare: func(dir string) ([]string, error) {
		return b.argv(dir, []string{"--exec"}, filepath.Join(dir, "run")), nil
	}})
	if err != nil {
		return err
	}
	defer s.end()
	left := 0
	for _, id := range pid.Below(b.dir) {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID)); exe == b.lifeline {
			left++
		}
	}
	what := "0 MB"
	if left > 0 || s.worker.PID != s.cmd.Process.Pid {
		what = fmt.Sprintf("%d processes", left)
	}
	fmt.Printf("| lifeline --exec | %s | | %s | | processes that run lifeline's program, counted in /proc: %d |\n",
		what,
		what, left)
	return nil
}

func mb(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/(1<<20)) }
