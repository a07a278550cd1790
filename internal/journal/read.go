package journal

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxRead is how much of a file is read, in bytes. A history is larger than
// maxHistory when a full disk has kept it from being halved.
const maxRead = 16 * maxHistory

// readFile reads a file of the journal. Root reads those of other users, who may
// have put a FIFO there, a link to a device, or a file without an end.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is no regular file (%s)", info.Mode())}
	case info.Size() > maxRead:
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has %d bytes, and %d are read at most",
			info.Size(), maxRead)}
	}
	text := make([]byte, info.Size())
	n, err := io.ReadFull(f, text)
	if err == io.EOF || err == io.ErrUnexpectedEOF { // it was cut meanwhile
		err = nil
	}
	return text[:n], err
}
