// Package tick decides the tick that finds its instance, which is what nearly
// every tick does. It links little, so its init runs before those of the command
// line and the process table, which would be most of the tick.
//
// It ends the process with exit code 0 only where all of this holds; everything
// else is left to the whole program:
//   - the command line is `lifeline [options] NAME -- COMMAND`, without an option
//     that a tick answers in another way, and without a variable LIFELINE_…;
//   - the lock file is in its place, sound, and locked by another process;
//   - the record names a supervisor that runs, and that was started with the very
//     same arguments, which the whole program has checked then.
package tick

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"

	"lifeline/internal/identity"
	"lifeline/internal/statedir"
)

func init() {
	if found(os.Args, os.Environ()) {
		os.Exit(0)
	}
}

// answers are options that the whole program handles: those that change what a
// tick with an instance does, and those that this package can't parse.
var answers = []string{"E", "conflict-exit-code", "v", "verbose", "wait", "standby", "replace", "on-skip",
	"on-skip-after", "allow-nfs", "h", "help"}

func found(argv, env []string) bool {
	name, dir, ok := parse(argv)
	if !ok {
		return false
	}
	for _, kv := range env {
		if strings.HasPrefix(kv, identity.Prefix) {
			return false
		}
	}
	if dir == "" {
		dir = statedir.Default()
	}
	var st syscall.Stat_t
	if dir[0] != '/' || syscall.Lstat(dir, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFDIR ||
		int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return false
	}
	if network, err := statedir.OnNetwork(dir); err != nil || network != "" {
		return false
	}
	fd, held := locked(dir + "/" + identity.LockFile(name))
	if !held {
		return false
	}
	if !supervised(dir+"/"+identity.RunFile(name), argv) {
		_ = syscall.Close(fd)
		return false
	}
	// One byte more counts a skipped tick; see package guard. A limit on file sizes
	// would end this process with SIGXFSZ.
	var lim syscall.Rlimit
	if syscall.Getrlimit(rlimitFsize, &lim) == nil && lim.Cur > 1<<22 {
		_, _ = syscall.Write(fd, []byte("."))
	}
	return true
}

const rlimitFsize = 1 // RLIMIT_FSIZE, getrlimit(2)

// parse finds NAME and --dir.
func parse(argv []string) (name, dir string, ok bool) {
	end := 0
	for i, arg := range argv {
		if arg == "--" {
			end = i
			break
		}
	}
	if end < 2 || end == len(argv)-1 {
		return "", "", false
	}
	for i := 1; i < end-1; i++ {
		option, value, assigned := strings.Cut(strings.TrimLeft(argv[i], "-"), "=")
		if argv[i] == option {
			continue // no option
		}
		for _, a := range answers {
			if option == a || a == "E" && strings.HasPrefix(option, a) { // -E75
				return "", "", false
			}
		}
		if option == "dir" {
			if !assigned {
				value = argv[i+1]
			}
			if dir != "" || value == "" {
				return "", "", false
			}
			dir = value
		}
	}
	name = argv[end-1]
	return name, dir, name != "" && len(name) <= 128 && name[0] != '-' && name[0] != '.' && !strings.Contains(name, "/")
}

// locked reports whether another process holds the lock of a sound lock file
// that is in its place; fd is then open for appending.
func locked(path string) (fd int, held bool) {
	const flags = syscall.O_RDWR | syscall.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	fd, err := syscall.Open(path, flags, 0)
	if err != nil {
		return -1, false
	}
	var st, now syscall.Stat_t
	if syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG && int(st.Uid) == os.Geteuid() &&
		st.Nlink == 1 &&
		syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) == syscall.EWOULDBLOCK &&
		syscall.Lstat(path, &now) == nil && now.Ino == st.Ino && now.Dev == st.Dev {
		return fd, true
	}
	_ = syscall.Close(fd)
	return -1, false
}

// supervised reports whether the record names a supervisor that runs, and has
// these arguments.
func supervised(path string, argv []string) bool {
	var buf [identity.RecordSize]byte
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	n, _ := syscall.Pread(fd, buf[:], 0)
	_ = syscall.Close(fd)
	rec, err := identity.Decode(buf[:max(n, 0)])
	return err == nil && runs(rec.Supervisor) && bytes.Equal(arguments(rec.Supervisor.PID),
		[]byte(strings.Join(argv[1:], "\x00")+"\x00"))
}

// runs reports whether the process is there and not stopped or on its way out
// (proc_pid_stat(5)).
func runs(id identity.ID) bool {
	text := proc(id.PID, "stat")
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // f[0] is field 3
	if len(f) < 20 || !bytes.ContainsAny(f[0], "RSDI") || string(f[19]) != strconv.FormatUint(id.Start, 10) {
		return false
	}
	flags, err := strconv.ParseUint(string(f[6]), 10, 64)
	const exiting = 0x4 // PF_EXITING, include/linux/sched.h
	return err == nil && flags&exiting == 0
}

// arguments returns those of the process, each with a NUL behind it, without argv[0].
func arguments(pid int) []byte {
	_, rest, _ := bytes.Cut(proc(pid, "cmdline"), []byte{0})
	return rest
}

// proc reads a file of a process by system calls alone: package os would set up
// epoll(7) first, for a tenth of a tick.
func proc(pid int, file string) (text []byte) {
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/"+file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	for buf := make([]byte, 2048); ; {
		n, err := syscall.Read(fd, buf)
		if n > 0 {
			text = append(text, buf[:n]...)
		}
		if n <= 0 && err != syscall.EINTR {
			return text
		}
	}
}
