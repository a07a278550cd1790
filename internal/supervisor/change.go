package supervisor

import (
	"io/fs"
	"os"
	"time"
)

const (
	changePoll  = 500 * time.Millisecond // how often the file is polled
	changeStill = time.Second            // how long the file must have been unchanged
)

// print identifies a state of a file: which file it is, its length and its time.
type print struct {
	info fs.FileInfo // nil where no file is
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

// onChange calls changed when the file has changed and then stayed the same for
// changeStill, because a program may still be being copied. Polling works on every
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
