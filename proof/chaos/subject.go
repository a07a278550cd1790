//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lifeline/proof/build"
)

// name is the name of the instance in every run.
const name = "chaos" // of its own: a damaged record leaves open whose supervisor it is

// subject is a guard under attack.
type subject struct {
	name  string
	about string
	// tick is what cron would run: the guard before the worker's command.
	tick func(p build.Programs, state string, v variant, worker []string) []string
	env  func(p build.Programs, state string) []string
	// verb makes one of the guard's commands pause, resume and reload; nil for none.
	verb func(p build.Programs, state, verb string) *exec.Cmd
	// lock and run are patterns of the files in the state directory that faults
	// remove. run is the file that has the record's place.
	lock, run string
	// end ends the instance as the guard's manual says; nil: the driver ends all.
	end func(p build.Programs, state string) error
}

var subjects = []subject{
	{
		name:  "lifeline",
		about: "lifeline --kill-after 10ms NAME -- witness",
		tick: func(p build.Programs, state string, v variant, worker []string) []string {
			// The default is 10 s for ticks a minute apart.
			argv := []string{p.Lifeline, "--dir", state, "--kill-after", "10ms"}
			if v.respawn {
				argv = append(argv, "--respawn", "--respawn-delay", "0")
			}
			if v.follow {
				argv = append(argv, "--leftovers", "follow")
			}
			// On a reload the new worker begins when the old worker is gone.
			return append(append(append(argv, name, "--"), worker...), "-takeover")
		},
		verb: func(p build.Programs, state, verb string) *exec.Cmd {
			cmd := exec.Command(p.Lifeline, verb, "--dir", state, name)
			cmd.Env = environ()
			return cmd
		},
		lock: "*.lock", run: "*.run",
		end: func(p build.Programs, state string) error {
			cmd := exec.Command(p.Lifeline, "terminate", "--dir", state, "--kill-after", "10ms", name)
			cmd.Env = environ()
			return cmd.Run()
		},
	},
	{
		name:  "flock",
		about: "flock -n FILE witness: the naive control",
		tick: func(p build.Programs, state string, _ variant, worker []string) []string {
			return append([]string{"flock", "-n", filepath.Join(state, "file")}, worker...)
		},
		lock: "file", run: "file",
	},
	{
		name:  "flock-o",
		about: "flock -n -o FILE witness: the lock isn't inherited",
		tick: func(p build.Programs, state string, _ variant, worker []string) []string {
			return append([]string{"flock", "-n", "-o", filepath.Join(state, "file")}, worker...)
		},
		lock: "file", run: "file",
	},
	{
		name:  "setlock",
		about: "setlock -n FILE witness (daemontools): becomes the worker",
		tick: func(p build.Programs, state string, _ variant, worker []string) []string {
			return append([]string{"setlock", "-n", filepath.Join(state, "file")}, worker...)
		},
		lock: "file", run: "file",
	},
	{
		name:  "run-one",
		about: "flock -xn on a file named by the hash of the command: run-one's algorithm",
		tick: func(p build.Programs, state string, _ variant, worker []string) []string {
			const script = `cd "$1" && shift && exec flock -xn "$(printf %s "$*" | md5sum | cut -d" " -f1)" "$@"`
			return append([]string{"sh", "-c", script, "run-one", state}, worker[:plainWorker]...)
		},
		lock: "[0-9a-f]*", run: "[0-9a-f]*",
	},
	{
		name:  "gem",
		about: "equal command lines in ps: the gem's algorithm",
		tick: func(p build.Programs, state string, v variant, worker []string) []string {
			// The gem compares command lines, so the flags of bad habits are left out.
			return peerTick(p, state, v, worker[:plainWorker])
		}, env: peerEnv("gem"),
		lock: "file", run: "file",
	},
	{
		name:  "pidfile",
		about: "a pid file and kill(pid, 0)",
		tick:  peerTick, env: peerEnv("pidfile"),
		lock: "file", run: "file",
	},
}

// plainWorker is the number of words of a worker's command before its bad habits.
const plainWorker = 5

// peerTick leaves out the worker's program, because the peer becomes it.
func peerTick(p build.Programs, _ string, _ variant, worker []string) []string {
	return append([]string{p.Peer}, worker[1:]...)
}

func peerEnv(how string) func(build.Programs, string) []string {
	return func(p build.Programs, state string) []string {
		return []string{"PEER=" + how, "WITNESS=" + p.Witness, "PIDFILE=" + filepath.Join(state, "file")}
	}
}

func subjectOf(name string) (subject, bool) {
	for _, s := range subjects {
		if s.name == name {
			return s, true
		}
	}
	return subject{}, false
}

// spoil damages the record at path in one of several ways. It opens the record
// without O_CREAT, because only an existing record can be damaged.
func spoil(path string, pick float64) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	text := make([]byte, 256)
	n, _ := unix.Pread(fd, text, 0)
	text = text[:max(n, 0)]
	switch int(pick * 5) {
	case 0: // emptied
		_ = unix.Ftruncate(fd, 0)
	case 1: // torn
		_ = unix.Ftruncate(fd, int64(pick*1e6)%200)
	case 2: // one bit
		if len(text) > 0 {
			text[int(pick*1e6)%len(text)] ^= 4
			_, _ = unix.Pwrite(fd, text, 0)
		}
	case 3: // zeros, as after a crash of the machine
		_, _ = unix.Pwrite(fd, make([]byte, 256), 0)
	default:
		_, _ = unix.Pwrite(fd, []byte("this is not a record\n"), 0)
	}
}

// remove removes every file of the state directory that fits the pattern.
func remove(state, pattern string) {
	paths, _ := filepath.Glob(filepath.Join(state, pattern))
	for _, path := range paths {
		_ = os.Remove(path)
	}
}
