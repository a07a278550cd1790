package identity

import (
	"errors"
	"hash/crc32"
	"strconv"
	"strings"
)

// RecordSize is the length of a record in bytes.
const RecordSize = 256

// recordVersion begins every record.
const recordVersion = "lifeline2"

// ErrRecord means that a text isn't a record.
var ErrRecord = errors.New("the record is damaged")

// Record says which processes are the instance of a name. It is one line of text
// with a checksum, padded to [RecordSize] bytes. One call writes or reads the
// record, and an operator can look at it with cat.
type Record struct {
	Boot         string // boot id of the boot in which the record was written
	PIDNamespace uint64 // inode of the pid namespace that the pids belong to
	Space        string // hash of the state directory: see SpaceHash
	Generation   string // of the worker, or of the last one
	Supervisor   ID
	Worker       ID     // zero while no worker runs
	Since        uint64 // clock ticks since boot at which only Worker was known to live
	// Searched says that the writer knew of every worker. It is false in a new run
	// file until a census has shown that every worker of a lost record has ended.
	Searched bool
}

// SpaceHash returns the hash by which a record names the state directory.
func SpaceHash(space string) string { return hex12(hash(space)) }

// InProcess reports whether the instance is its own supervisor: a block of
// Guard.Do, or a command started with --exec.
func (r Record) InProcess() bool { return !r.Worker.Zero() && r.Worker == r.Supervisor }

// Encode returns the record's text.
func (r Record) Encode() []byte {
	u := func(n uint64) string { return strconv.FormatUint(n, 10) }
	body := strings.Join([]string{
		recordVersion, dash(r.Boot), u(r.PIDNamespace), dash(r.Space), dash(r.Generation),
		r.Supervisor.String(), r.Worker.String(), u(r.Since), strconv.FormatBool(r.Searched),
	}, " ")
	line := body + " " + checksum(body) + "\n"
	return append([]byte(line), strings.Repeat(" ", max(0, RecordSize-len(line)))...)
}

func checksum(body string) string {
	sum := strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(body))), 16)
	return "00000000"[len(sum):] + sum
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func undash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// Decode reads what Encode wrote. The error is ErrRecord for anything else.
func Decode(text []byte) (Record, error) {
	line, pad, ok := strings.Cut(string(text), "\n")
	f := strings.Split(line, " ")
	if !ok || len(text) != RecordSize || strings.Trim(pad, " ") != "" || len(f) != 10 || f[0] != recordVersion ||
		checksum(strings.Join(f[:9], " ")) != f[9] {
		return Record{}, ErrRecord
	}
	r := Record{Boot: undash(f[1]), Space: undash(f[3]), Generation: undash(f[4])}
	var errs [4]error
	r.PIDNamespace, errs[0] = strconv.ParseUint(f[2], 10, 64)
	r.Since, errs[1] = strconv.ParseUint(f[7], 10, 64)
	r.Searched, errs[2] = strconv.ParseBool(f[8])
	var okSupervisor, okWorker bool
	r.Supervisor, okSupervisor = parseRecordID(f[5])
	r.Worker, okWorker = parseRecordID(f[6])
	if errs != [4]error{} || !okSupervisor || !okWorker {
		return Record{}, ErrRecord
	}
	return r, nil
}

// parseRecordID reads an ID of a record, where 0:0 stands for no process.
func parseRecordID(text string) (ID, bool) {
	if text == (ID{}).String() {
		return ID{}, true
	}
	return ParseID(text)
}
