package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/statedir"
)

// maxHistory is the largest size of a history in bytes: some two thousand runs.
const maxHistory = 512 << 10

// ReadHistory returns the runs of a history file, the oldest first, without the
// lines that can't be parsed. A missing file has no runs.
func ReadHistory(path string) ([]Run, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseHistory(text), nil
}

func parseHistory(text []byte) []Run {
	runs := make([]Run, 0, bytes.Count(text, []byte("\n"))+1)
	for line := range bytes.Lines(text) {
		runs = append(runs, Run{})
		if last := len(runs) - 1; !parseRun(line, &runs[last]) {
			runs = runs[:last]
		}
	}
	return runs
}

// FailingSince reads a history from its end: the start of the first of the failed
// runs there, and zero where the last run didn't fail.
func FailingSince(path string) (since time.Time) {
	text, _ := readFile(path)
	for len(text) > 0 {
		at := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
		var r Run
		if parseRun(text[at:], &r) {
			if r.Outcome == OK || r.Outcome == Stopped {
				break
			}
			since = r.Start
		}
		text = text[:at]
	}
	return since
}

// appendRun adds one line, and removes the older half of a file that is too large.
func appendRun(path string, r Run) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return reason(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return reason(err)
	}
	if size == 0 {
		err = statedir.Share(f)
	}
	if err != nil {
		return reason(err)
	}
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			line = append([]byte("\n"), line...) // end the torn last line
		}
	}
	if size+int64(len(line)) > maxHistory {
		if err := halve(path, f, line); err == nil {
			return nil
		}
		// Without room for the copy the file grows this time.
	}
	n, err := f.Write(line)
	if err != nil && n > 0 {
		_ = f.Truncate(size) // take back a half line
	}
	return reason(err)
}

// halve replaces the history by its newer half and the line.
func halve(path string, f *os.File, line []byte) error {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4*maxHistory))
	if err != nil {
		return err
	}
	if cut := len(text) - maxHistory/2; cut > 0 {
		text = text[cut:]
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	part, err := os.OpenFile(path+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = part.Write(append(text, line...))
	if err = errors.Join(err, statedir.Share(part), part.Close()); err != nil {
		_ = os.Remove(part.Name())
		return err
	}
	return os.Rename(part.Name(), path)
}

func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
