package guard

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// settleFor is how long a stub waits for younger ones to yield and for
// processes in the middle of execve to show who they are.
const settleFor = 3 * time.Second

// Yield is why a stub didn't become the command: another worker, or an older
// stub, has the name.
type Yield struct {
	To procscan.ID
	// Orphan: To is a worker, and no supervisor of this name watches over it.
	Orphan bool
	// Generation is To's.
	Generation string
}

func (y *Yield) Error() string {
	return fmt.Sprintf("yield %d %d %t %s", y.To.PID, y.To.Start, y.Orphan, dash(y.Generation))
}

// ParseYield reads what a stub's Yield says through its status pipe.
func ParseYield(text string) (*Yield, bool) {
	var y Yield
	n, err := fmt.Sscanf(text, "yield %d %d %t %s", &y.To.PID, &y.To.Start, &y.Orphan, &y.Generation)
	if y.Generation == "-" {
		y.Generation = ""
	}
	return &y, err == nil && n == 4
}

// stub is what a starting worker knows of itself.
type stub struct {
	name, space, generation string
	previous                string      // the generation before, by the record
	supervisor              procscan.ID // itself with --exec
	warn                    func(format string, args ...any)
	search                  bool
	left                    []string // generations of which something is left
}

// runNumbers are the descriptors at which a worker has K.run: process.Start's,
// with the usual limits, and process.Become's.
var runNumbers = []int{251, 200}

// hiddenFor is how long a process must have K.run open and show no marker
// until it counts as a worker that has overwritten its environment: a stub
// between fork and execve looks like one too.
const hiddenFor = 20 * time.Millisecond

// Settle is step 6, called in the stub. It has been visible with its marker
// since its execve; now it writes itself into the record (run, may be nil) and
// looks around. Announce first, look second: of N stubs that do this at once,
// each pair has at least one that sees the other, and both agree on who is
// older, so exactly one becomes the command. nil means that it is this one, a
// *[Yield] that it is not. parent is the supervisor, zero with --exec; note is
// [Hold.Note]'s, and remark is for [Hold.Leftovers].
func Settle(parent procscan.ID, run *os.File, note string, warn func(format string, args ...any)) (remark string, err error) {
	self := procscan.Self()
	s := stub{name: os.Getenv(EnvName), space: os.Getenv(EnvSpace), generation: os.Getenv(EnvID), supervisor: parent, warn: warn}
	if parent.Zero() {
		s.supervisor = self
	}
	how, previous, _ := strings.Cut(note, " ")
	s.previous = previous
	var rec *os.File
	if run != nil {
		rec = openRecord(run, dir{path: s.space}.run(s.name))
		defer rec.Close()
	}
	announce := func(searched bool) {
		if rec != nil && how != noteBeside {
			_ = writeRecord(rec, record{ // a full disk is no reason not to run
				boot: procscan.BootID(), pidNS: procscan.PIDNamespace(),
				generation: s.generation, supervisor: s.supervisor, worker: self, searched: searched,
			})
		}
	}
	announce(how != noteSearch)
	crash.Point("stub.announced")
	if how == noteVouch && !inPlace(dir{path: s.space}.run(s.name), previous) {
		how, s.previous = noteScan, ""
	}
	if how == noteScan || how == noteSearch {
		s.search = how == noteSearch
		if err := s.look(self); err != nil {
			return "", err
		}
		if s.search {
			announce(true)
		}
	}
	crash.Point("stub.looked")
	if !parent.Zero() && os.Getppid() != parent.PID {
		// Killed while we were starting: nobody would watch over the command.
		return "", fmt.Errorf("the supervisor has gone")
	}
	crash.Point("stub.checked")
	return strings.Join(s.left, " "), nil
}

// inPlace reports whether path still names the file that note tells of. A stub
// that need not look makes sure of it once it is seen: whoever takes another
// K.run from then on sees it.
func inPlace(path, note string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && note == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

const (
	noteTrust  = "trust" // nothing to look for: only with the tag proof
	noteScan   = "scan"
	noteSearch = "search" // the same, and for workers that have no marker any more
	noteVouch  = "vouch"
	noteBeside = "beside"
)

// look scans until nothing is left that could still decide against us.
func (s *stub) look(self procscan.ID) error {
	d := dir{path: s.space, space: s.space}
	hidden := map[procscan.ID]time.Time{}
	for deadline := time.Now().Add(settleFor); ; time.Sleep(time.Millisecond) {
		table, err := marked(s.name, s.space)
		if err != nil && s.warn != nil {
			s.warn("%v: the locks decide alone", err)
		}
		supervisors := s.others(procscan.LockHolders(d.lock(s.name)))
		wait, unknown := false, len(table.InExec) > 0
		stubs := map[procscan.ID]bool{}
		s.left = nil
		for _, p := range table.Processes {
			isStub := p.Env[EnvStub] != ""
			if isStub {
				stubs[p.ID] = true
			}
			switch {
			case p.ID == self || !trusted(p, s.previous, supervisors):
			case primary(p):
				sup, ok := supervisor(p)
				watched := ok && sup.Alive() || len(supervisors) > 0 // by its own, or by one that adopted it
				return &Yield{To: p.ID, Orphan: !watched, Generation: p.Env[EnvID]}
			case !isStub: // a descendant of a worker
				s.leftover(p)
			case p.Older(self) && doomed(p):
				wait = true
			case p.Older(self):
				return &Yield{To: p.ID, Generation: p.Env[EnvID]}
			default:
				wait = true // a younger one: it will see us and yield
			}
		}
		// A worker that has overwritten its environment is still its
		// supervisor's child.
		for _, sup := range supervisors {
			for _, child := range procscan.Children(sup.PID) {
				if child.ID != self && !stubs[child.ID] {
					return &Yield{To: child.ID}
				}
			}
		}
		if s.search {
			for _, id := range procscan.OpenAt(d.run(s.name), runNumbers...) {
				if id == self || !unmarked(id, s.name) {
					continue
				}
				if since, seen := hidden[id]; !seen {
					hidden[id] = time.Now()
				} else if time.Since(since) > hiddenFor {
					return &Yield{To: id, Orphan: len(supervisors) == 0}
				}
				unknown = true
			}
		}
		switch late := time.Now().After(deadline); {
		case !wait && !unknown:
			return nil
		case late && unknown && s.search:
			// Nothing else is left that would tell of a worker. Never two comes
			// before never none.
			return fmt.Errorf("some processes haven't shown what they are for %s, and the record was lost: not started, the next tick tries again", settleFor)
		case late: // the locks and the record have told of none
			return nil
		}
	}
}

// leftover notes the generation of a descendant whose worker and supervisor
// have both ended: nobody else will ever see to it.
func (s *stub) leftover(p procscan.Process) {
	var worker procscan.ID
	sup, ok := supervisor(p)
	n, err := fmt.Sscanf(p.Env[EnvPID]+" "+p.Env[EnvStart], "%d %d", &worker.PID, &worker.Start)
	id := p.Env[EnvID]
	if !ok || sup.Alive() || err != nil || n != 2 || worker.Alive() || id == s.generation || len(s.left) > 50 {
		return
	}
	if !slices.Contains(s.left, id) && !strings.ContainsAny(id, " \n") {
		s.left = append(s.left, id)
	}
}

// doomed reports a stub whose supervisor has been killed: it will find out and
// end, or it has just become the command, which the next look shows. One that
// is stopped as well can't find out, and must not become the command beside us
// later on: it is ended.
func doomed(p procscan.Process) bool {
	if sup, ok := supervisor(p); !ok || sup.Alive() {
		return false
	}
	if p.Stopped() && p.ID.Alive() {
		_ = unix.Kill(p.PID, unix.SIGKILL)
	}
	return true
}

// others leaves out the stub itself and its own supervisor.
func (s stub) others(ids []procscan.ID) []procscan.ID {
	var kept []procscan.ID
	for _, id := range ids {
		if id != s.supervisor && id.PID != os.Getpid() {
			kept = append(kept, id)
		}
	}
	return kept
}

func childOf(p procscan.Process, of []procscan.ID) bool {
	for _, id := range of {
		if p.PPID == id.PID {
			return true
		}
	}
	return false
}

// trusted reports whether p's marker may be believed: anybody can write one
// into the environment of a process of his own, and must not be able to keep
// root's worker from starting.
func trusted(p procscan.Process, generation string, supervisors []procscan.ID) bool {
	switch {
	case p.UID == os.Geteuid():
		return true
	case os.Geteuid() != 0:
		return false
	case generation != "" && p.Env[EnvID] == generation:
		return true // a worker of root's that has dropped its privileges
	}
	return childOf(p, supervisors)
}
