package supervisor

import (
	"io/fs"
	"os"
	"time"
)

const (
	changePoll  = 500 * time.Millisecond // how often a file is looked at
	changeStill = time.Second            // how long it must have been left alone
)

// print is what tells one state of a file from another: a new file in its
// place, a new length, a new time.
type print struct {
	info fs.FileInfo // nil: there is none
}

func printOf(path string) print {
	st, err := os.Stat(path)
	if err != nil {
		return print{}
	}
	return print{st}
}

func (p print) same(q print) bool {
	if p.info == nil || q.info == nil {
		return p.info == q.info
	}
	return os.SameFile(p.info, q.info) && p.info.Size() == q.info.Size() && p.info.ModTime().Equal(q.info.ModTime())
}

// onChange calls changed when the file is another than it was and has been
// still for a moment: a program that is being copied isn't one to start yet,
// and neither is one that has gone for the time being. Polling works on every
// file system, also where the directory is replaced as a whole.
func onChange(path string, quit <-chan struct{}, look func(string) print, changed func()) {
	ticker := time.NewTicker(changePoll)
	defer ticker.Stop()
	known := look(path)
	seen, since := known, time.Now()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		now := look(path)
		switch {
		case !now.same(seen):
			seen, since = now, time.Now()
		case !seen.same(known) && seen.info != nil && time.Since(since) >= changeStill:
			known = seen
			changed()
		}
	}
}
