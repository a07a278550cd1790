package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/report"
)

// The files of a fleet come from other machines, so they are bounded.
const (
	maxFleetFile  = 4 << 20 // bytes, some four thousand names
	maxFleetNames = 20_000
	fleetOld      = 10 * time.Minute
)

// fleetPage returns the page of every FILE.json in a directory. A file that can't
// be used is shown as wrong, and leaves out its machine alone.
func fleetPage(r reportOptions) (*report.Page, error) {
	entries, err := os.ReadDir(r.fleet)
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory of --fleet: %w", err)
	}
	p := &report.Page{Written: time.Now(), Every: r.every}
	machines := 0
	for _, e := range entries {
		machine, is := strings.CutSuffix(e.Name(), ".json")
		if !is || strings.HasPrefix(machine, ".") {
			continue
		}
		machines++
		list, written, err := readFleetFile(filepath.Join(r.fleet, e.Name()))
		if err == nil && len(p.Names)+len(list) > maxFleetNames {
			err = fmt.Errorf("with its %d names there are more than %d: split the fleet", len(list), maxFleetNames)
		}
		if err != nil {
			p.Wrong = append(p.Wrong, report.Wrong{Machine: machine, What: "file",
				Text: fmt.Sprintf("%s can't be used: %v",
					e.Name(), err), Advice: "on it: lifeline status --json >FILE.new && mv FILE.new FILE"})
			continue
		}
		switch age := p.Written.Sub(written); {
		case age > max(fleetOld, 2*r.every):
			p.Wrong = append(p.Wrong, report.Wrong{Machine: machine, What: "old",
				Text: "its file is " + human.Length(age) +
					" old, so what stands here may be over", Advice: "see whether the machine is up, and what brings " +
					e.Name() +
					" here"})
		case age < -fleetOld:
			p.Wrong = append(p.Wrong, report.Wrong{Machine: machine, What: "clock",
				Text: "its file will be written in " +
					human.Length(-age) + ": the clocks differ", Advice: "set the clocks by NTP"})
		}
		for i := range list {
			n := list[i].onPage()
			n.Machine = machine
			p.Names = append(p.Names, n)
			p.Wrong = append(p.Wrong, list[i].wrongs(machine)...)
		}
	}
	p.Facts = []report.Fact{{Name: "Machines", Value: fmt.Sprint(machines)}, {Name: "Names",
		Value: fmt.Sprint(len(p.Names))}}
	if machines == 0 {
		p.Wrong = append(p.Wrong, report.Wrong{What: "fleet", Text: "no FILE.json is in " + r.fleet,
			Advice: "lifeline status --json >" + filepath.Join(r.fleet, "MACHINE.json")})
	}
	p.Sort()
	return p, nil
}

// readFleetFile reads the output of `lifeline status --json` from a file.
func readFleetFile(path string) (list []instanceStatus, written time.Time, err error) {
	// A link may lead to a file that only the reader may see, and a FIFO would block.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return nil, written, errors.New("it is a symbolic link")
		}
		return nil, written, errors.Unwrap(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, written, err
	case !info.Mode().IsRegular():
		return nil, written, errors.New("it is no regular file")
	case info.Size() > maxFleetFile:
		return nil, written, fmt.Errorf("it has %s, and %s are taken at most", human.Size(uint64(info.Size())),
			human.Size(maxFleetFile))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFleetFile+1))
	if err != nil {
		return nil, written, errors.Unwrap(err)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, written, fmt.Errorf("it is no output of status --json: %w", err)
	}
	if list == nil {
		return nil, written, errors.New("it is no output of status --json: null")
	}
	seen := map[string]bool{}
	for i := range list {
		s := &list[i]
		if guard.CheckName(s.Name) != nil {
			return nil, written, fmt.Errorf("entry %d has no valid name", i+1)
		}
		if seen[s.label()] {
			return nil, written, fmt.Errorf("%s stands there twice", s.label())
		}
		seen[s.label()] = true
	}
	return list, info.ModTime(), nil
}

// label returns the name, with its user where status --all-users has set one.
func (s *instanceStatus) label() string {
	if s.User != "" {
		return s.User + ": " + s.Name
	}
	return s.Name
}

// wrongs returns what is wrong according to the status alone.
func (s *instanceStatus) wrongs(machine string) (list []report.Wrong) {
	add := func(what, advice, text string) {
		list = append(list, report.Wrong{Machine: machine, Name: s.label(), What: what, Text: text, Advice: advice})
	}
	if s.Problem != "" {
		add("state", "on it: lifeline doctor "+s.Name, s.Problem)
	}
	if s.Failing != nil {
		text := "failing since " + human.ShortTime(*s.Failing)
		if s.Last != nil {
			text += "; the last run: " + human.End(*s.Last) + describeWhy(s.Last)
		}
		add("failing", "on it: lifeline doctor "+s.Name, text)
	}
	if s.Usual > 0 {
		usual := time.Duration(s.Usual * float64(time.Second))
		add("hanging", "on it: lifeline logs "+s.Name+", or end it: lifeline terminate "+s.Name,
			"it has run for ten times its usual "+human.Length(usual)+", or longer")
	}
	if s.Overdue != nil {
		add("overdue", "on it: lifeline doctor "+s.Name+"; lifeline start "+s.Name+" starts it now",
			"cron was to start it at "+human.ShortTime(*s.Overdue)+", and nothing shows that it did")
	}
	if s.Paused && s.PausedUntil == nil {
		text := "it is paused, so cron starts nothing"
		if s.PausedSince != nil {
			text += " (since " + human.ShortTime(*s.PausedSince) + ")"
		}
		add("paused", "on it: lifeline resume "+s.Name, text)
	}
	return list
}

func describeWhy(r *journal.Run) string {
	if r.Why == "" {
		return ""
	}
	return ": " + r.Why
}
