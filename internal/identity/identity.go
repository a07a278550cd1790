// Package identity is the contract by which processes of lifeline recognise each
// other. It has the marker in a worker's environment, the record in the run file,
// the files' names, and the thread name that announces a start.
//
//	env := identity.Marker{Name: "web", Space: dir, Generation: g, Supervisor: self}.Environ()
//	text := identity.Record{Boot: boot, Space: dir, Generation: g, Supervisor: self, Worker: id}.Encode()
//	rec, err := identity.Decode(text)
//
// The early tick links this package, so it imports nothing that is costly to
// initialise.
package identity

import (
	"strconv"
	"strings"
)

// ID names one process for as long as the machine is up: pids are reused.
type ID struct {
	PID   int
	Start uint64 // clock ticks since boot, raw (proc_pid_stat(5), field 22)
}

// Zero reports whether id names no process.
func (id ID) Zero() bool { return id.PID == 0 }

// String returns pid:start, which ParseID reads.
func (id ID) String() string { return strconv.Itoa(id.PID) + ":" + strconv.FormatUint(id.Start, 10) }

// ParseID reads what String wrote.
func ParseID(text string) (id ID, ok bool) {
	pid, start, found := strings.Cut(text, ":")
	n, err := strconv.Atoi(pid)
	ticks, err2 := strconv.ParseUint(start, 10, 64)
	if !found || err != nil || err2 != nil || n <= 0 {
		return ID{}, false
	}
	return ID{n, ticks}, true
}

// The marker's variables. Descendants of a worker inherit them: a marker says
// which name and generation a process comes from. The worker itself is the
// process that the supervisor forked.
const (
	Prefix        = "LIFELINE_"           // what every variable of lifeline begins with
	EnvName       = "LIFELINE_NAME"       // the name
	EnvSpace      = "LIFELINE_SPACE"      // the state directory: names of two directories never meet
	EnvGeneration = "LIFELINE_ID"         // the generation
	EnvSupervisor = "LIFELINE_SUPERVISOR" // pid:start of the supervisor; with --exec, of the process itself
)

// Marker says in an environment to which name and generation a process belongs.
type Marker struct {
	Name, Space, Generation string
	Supervisor              ID
}

// Environ returns the marker as variables. They belong at the front of an
// environment, because a reader may see only its first part.
func (m Marker) Environ() []string {
	return []string{
		EnvName + "=" + m.Name, EnvSpace + "=" + m.Space,
		EnvGeneration + "=" + m.Generation, EnvSupervisor + "=" + m.Supervisor.String(),
	}
}

// MarkerOf reads the marker from a process's variables; ok is false where one of
// them is missing.
func MarkerOf(env map[string]string) (m Marker, ok bool) {
	m.Name, m.Space, m.Generation = env[EnvName], env[EnvSpace], env[EnvGeneration]
	m.Supervisor, ok = ParseID(env[EnvSupervisor])
	return m, ok && m.Name != "" && m.Space != "" && m.Generation != ""
}

// hash returns the FNV-1a hash, 64 bits. It needn't be cryptographic, because no
// attacker gains by a collision.
func hash(texts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, text := range texts {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
	}
	return h
}

// hex12 returns the upper 48 bits of h as 12 digits.
func hex12(h uint64) string {
	digits := strconv.FormatUint(h>>16, 16)
	return "000000000000"[len(digits):] + digits
}

// Key returns the stem of the name's files: the name and 12 digits of its hash.
// The hash tells names apart that differ only in case, which a file system may
// ignore.
func Key(name string) string { return name + "-" + hex12(hash(name)) }

// LockFile returns the base name of the name's lock file.
func LockFile(name string) string { return Key(name) + ".lock" }

// RunFile returns the base name of the name's run file.
func RunFile(name string) string { return Key(name) + ".run" }

// announcement begins the thread name of an announced supervisor.
const announcement = "ll:"

// Announcement returns the name that the main thread of a supervisor has while it
// starts a worker. Every user can see it in /proc/PID/stat, in the same read as
// the start time. The kernel keeps 15 bytes (PR_SET_NAME, prctl(2)).
func Announcement(space, name string) string { return announcement + hex12(hash(space, "\x00", name)) }
