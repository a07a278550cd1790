package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Show writes the last n lines of the log at path to w, from older files too where the
// newest has too few. With follow it also writes what is added, through rotations, until
// ctx ends.
func Show(ctx context.Context, w io.Writer, path string, n int, follow bool) error {
	path = Resolve(path)
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	offset := int64(0) // in the oldest file
	for i := 0; n > 0 || i == 0; i++ {
		f, err := openOld(path, i)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot open the log %s: %w", oldName(path, i), reason(err))
		}
		if i > 0 && same(files[len(files)-1], f) { // a rotation meanwhile shows a file twice
			f.Close()
			continue
		}
		files = append(files, f)
		var found int
		if offset, found, err = lastLines(f, n); err != nil {
			return fmt.Errorf("cannot read the log %s: %w", oldName(path, i), reason(err))
		}
		n -= found
	}
	for i := len(files) - 1; i >= 0; i-- {
		if _, err := files[i].Seek(offset, io.SeekStart); err != nil {
			return fmt.Errorf("cannot read the log %s: %w", files[i].Name(), reason(err))
		}
		if _, err := io.Copy(w, files[i]); err != nil {
			return err
		}
		offset = 0
	}
	if !follow {
		return nil
	}
	return tailOn(ctx, w, path, &files[0])
}

// oldName returns FILE, FILE.1 and so on.
func oldName(path string, n int) string {
	if n == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", Resolve(path), n) // beside the target of a link
}

// openOld opens FILE.n, compressed or not.
func openOld(path string, n int) (*os.File, error) {
	f, err := os.Open(oldName(path, n))
	if n == 0 || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	return unpack(oldName(path, n) + packed)
}

func same(a, b *os.File) bool {
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// lastLines returns the offset at which the last n lines of f begin, and how many lines
// there are, up to n.
func lastLines(f *os.File, n int) (offset int64, found int, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	at := st.Size()
	if n <= 0 || at == 0 {
		return at, 0, nil
	}
	buf := make([]byte, 64<<10)
	for end := at; at > 0; {
		size := min(at, int64(len(buf)))
		at -= size
		part := buf[:size]
		if _, err := f.ReadAt(part, at); err != nil && err != io.EOF {
			return 0, 0, err
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			if at+int64(i) == end-1 {
				continue // the end of the last line
			}
			if found++; found == n {
				return at + int64(i) + 1, n, nil
			}
		}
	}
	return 0, found + 1, nil
}

const followPause = 100 * time.Millisecond

// tailOn copies what is added to the log.
func tailOn(ctx context.Context, w io.Writer, path string, f **os.File) error {
	for {
		// Check for a newer file first, and then read to the end: after a rotation the old
		// file gets no more lines.
		next, moved := newer(path, *f)
		if _, err := io.Copy(w, *f); err != nil {
			return err
		}
		if moved {
			(*f).Close()
			*f = next
			continue
		}
		if at, err := (*f).Seek(0, io.SeekCurrent); err == nil {
			if st, err := (*f).Stat(); err == nil && st.Size() < at { // another program has cut it
				_, _ = (*f).Seek(0, io.SeekStart)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
	}
}

// newer returns the file that followed f, when the log is no longer f.
func newer(path string, f *os.File) (*os.File, bool) {
	now, err := os.Open(path)
	if err != nil {
		return nil, false // the file is being moved
	}
	if same(now, f) {
		now.Close()
		return nil, false
	}
	// After several rotations f is FILE.n, and FILE.n-1 follows it.
	after := now
	for n := 1; ; n++ {
		old, err := os.Open(fmt.Sprintf("%s.%d", path, n))
		if err != nil { // f is no longer kept
			return now, true
		}
		if same(old, f) {
			old.Close()
			if after != now {
				now.Close()
			}
			return after, true
		}
		if after != now {
			after.Close()
		}
		after = old
	}
}
