package guard

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"lifeline/internal/identity"
	"lifeline/procscan"
)

// here reports whether a record was written in this boot and in this pid
// namespace. Other records' pids mean nothing here.
func here(r identity.Record) bool {
	return r.Boot == procscan.BootID() && r.PIDNamespace == procscan.PIDNamespace()
}

func readRecord(f *os.File) (identity.Record, error) {
	buf := make([]byte, identity.RecordSize)
	n, _ := f.ReadAt(buf, 0)
	if n == 0 {
		return identity.Record{}, fmt.Errorf("%w: it is empty", identity.ErrRecord)
	}
	return identity.Decode(buf[:n])
}

// readRecordAt reads the record at path; ok is false without a readable record of
// this boot and pid namespace.
func readRecordAt(path string) (rec identity.Record, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return rec, false
	}
	defer f.Close()
	rec, err = readRecord(f)
	return rec, err == nil && here(rec)
}

// openRecord opens the file at path for writing the record, if it is the file
// that run has open. Otherwise it returns nil, because a record in a removed
// file is never read.
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

// writeRecord puts r into the file. On a full disk callers go on without a record,
// because the locks need no data. Beyond the limit on file sizes the kernel would
// write a part or send SIGXFSZ (setrlimit(2)), so the old record stays.
func writeRecord(f *os.File, r identity.Record) {
	if mayGrow(identity.RecordSize) {
		_, _ = f.WriteAt(r.Encode(), 0)
	}
}

// mayGrow reports whether the limit on file sizes allows a file of that size.
func mayGrow(size uint64) bool {
	var lim unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_FSIZE, &lim) != nil || uint64(lim.Cur) >= size
}

// inodeOf returns the inode number of the file at path, 0 for none.
func inodeOf(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return uint64(st.Ino)
}

// ticksNow returns the present time in clock ticks since boot, the unit of process
// start times. USER_HZ is 100 on every system that Go runs on (proc(5)).
func ticksNow() uint64 { return uint64(bootTime().Milliseconds() / 10) }
