package guard

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

const recordSize = 256

// record says who the instance is. It stands at the start of K.run as one
// line of text, padded to 256 bytes and closed by a checksum, so that it is
// written and read in one call each and a person can look at it with cat.
type record struct {
	boot       string // of the boot it was written in
	pidNS      uint64 // inode of the pid namespace the pids belong to
	generation string // LIFELINE_ID of the worker
	supervisor procscan.ID
	worker     procscan.ID // zero while none has been started
	// searched: whoever wrote this knew of every worker there was. False from
	// the moment a record is made where there was none, until a look around has
	// shown that no worker of an earlier, lost record lives.
	searched bool

	// What reading it has shown; not part of it.
	unknown bool // it is silent about workers that may live: none, damaged, or not searched
	crashed bool // its worker has ended without its supervisor
}

var errRecord = errors.New("the record is damaged")

// inProcess reports an instance that is its own supervisor: a block of
// [Guard.Do], or a command started with --exec.
func (r record) inProcess() bool { return !r.worker.Zero() && r.worker == r.supervisor }

func (r record) marshal() []byte {
	line, _, _ := r.draft(strconv.Itoa(r.worker.PID), strconv.FormatUint(r.worker.Start, 10))
	return line
}

// draft is the record of a worker with that pid and start time; worker and sum
// are where those and the checksum begin.
func (r record) draft(pid, start string) (text []byte, worker, sum int) {
	line := fmt.Sprintf("lifeline1 %s %d %s %d %d ", dash(r.boot), r.pidNS, dash(r.generation), r.supervisor.PID, r.supervisor.Start)
	worker = len(line)
	line += fmt.Sprintf("%s %s %t", pid, start, r.searched)
	sum = len(line) + 1
	line += fmt.Sprintf(" %08x\n", crc32.ChecksumIEEE([]byte(line)))
	return []byte(line + strings.Repeat(" ", max(0, recordSize-len(line)))), worker, sum
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// parseRecord reads what marshal wrote; errRecord for anything else.
func parseRecord(text []byte) (record, error) {
	var r record
	line, pad, ok := bytes.Cut(text, []byte("\n"))
	if !ok || len(text) != recordSize || len(bytes.TrimLeft(pad, " ")) != 0 {
		return r, errRecord
	}
	body, sum, ok := cutLast(string(line), " ")
	if !ok || sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
		return r, errRecord
	}
	n, err := fmt.Sscanf(body, "lifeline1 %s %d %s %d %d %d %d %t", &r.boot, &r.pidNS, &r.generation,
		&r.supervisor.PID, &r.supervisor.Start, &r.worker.PID, &r.worker.Start, &r.searched)
	if err != nil || n != 8 || r.supervisor.PID < 0 || r.worker.PID < 0 {
		return record{}, errRecord
	}
	if r.boot == "-" {
		r.boot = ""
	}
	if r.generation == "-" {
		r.generation = ""
	}
	return r, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// here reports whether the record's pids mean anything: written in this boot
// and in this pid namespace.
func (r record) here() bool {
	return r.boot == procscan.BootID() && r.pidNS == procscan.PIDNamespace()
}

func readRecord(f *os.File) (record, error) {
	buf := make([]byte, recordSize)
	n, err := f.ReadAt(buf, 0)
	if n < recordSize {
		if n == 0 {
			return record{}, fmt.Errorf("%w: it is empty", errRecord)
		}
		return record{}, errRecord
	}
	_ = err // io.EOF beside a full record means nothing
	return parseRecord(buf)
}

// openRecord opens the file at path for writing the record, if it is the one
// that run has open; nil otherwise: nobody will ever read one that was removed.
func openRecord(run *os.File, path string) *os.File {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	held, err := run.Stat()
	now, err2 := f.Stat()
	if err != nil || err2 != nil || !os.SameFile(held, now) {
		f.Close()
		return nil
	}
	return f
}

// writeRecord puts r into the file. A full disk makes it fail; the locks need
// no data, so callers go on.
func writeRecord(f *os.File, r record) error {
	_, err := f.WriteAt(r.marshal(), 0)
	return err
}
