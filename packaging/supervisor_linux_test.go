package packaging

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// asSupervisor starts the test program as the release's supervisor.
func (m machine) asSupervisor(how string, reply *os.File) (*os.Process, chan int) {
	m.Helper()
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	cmd := exec.Command(self, "as-supervisor", how, m.release)
	cmd.Env = append(os.Environ(), "TOP="+m.top)
	if reply != nil {
		cmd.ExtraFiles = []*os.File{reply}
	}
	return m.start(cmd)
}

// play acts as the release's supervisor with a worker. It has the release's locks, sockets
// and record, with this machine's pids. Then it ends, or hands over to TOP/lifeline.
func play(how, release string) error {
	top, self := os.Getenv("TOP"), os.Getpid()
	os.Unsetenv("TOP")
	kept := func(name string) string {
		text, err := keptFile(release, top, name)
		if err != nil {
			panic(err)
		}
		return text
	}
	open := func(ending string, flags int) int {
		found, _ := filepath.Glob(top + "/dir/web-*" + ending)
		fd, err := unix.Open(found[0], flags, 0)
		if err == nil {
			err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		}
		if err != nil {
			panic(err)
		}
		return fd
	}
	lock, runFile := open(".lock", unix.O_RDWR), open(".run", unix.O_RDONLY)
	listening, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(listening, &unix.SockaddrUnix{Name: top + "/socket"})
	}
	if err == nil {
		err = unix.Listen(listening, 10)
	}
	if err != nil {
		return err
	}
	env := append(strings.Split(strings.TrimSpace(kept("environ")), "\n"), "PATH="+os.Getenv("PATH"))
	notify, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	for i, v := range env {
		if address, ok := strings.CutPrefix(v, "NOTIFY_SOCKET="); ok && err == nil {
			err = unix.Bind(notify, &unix.SockaddrUnix{Name: address})
		}
		if strings.HasPrefix(v, "LISTEN_FDNAMES=") {
			env[i] += ":kept"
		}
	}
	if err == nil {
		err = unix.SetsockoptInt(notify, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	line, err2 := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	keptFD, err3 := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil || err2 != nil || err3 != nil {
		return fmt.Errorf("%v, %v, %v", err, err2, err3)
	}

	argv := strings.Split(strings.TrimSpace(kept("argv")), "\n")
	var command []string
	for i, word := range argv {
		if word == "--" {
			command = argv[i+1:]
		}
	}
	python, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	files := make([]uintptr, 253)
	for i := range files {
		files[i] = ^uintptr(0)
	}
	files[0], files[1], files[2], files[3], files[4] = 0, 1, 2, uintptr(listening), uintptr(keptFD)
	files[251], files[252] = uintptr(runFile), uintptr(line[1])
	worker, err := syscall.ForkExec(python, command,
		&syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return err
	}
	unix.Close(line[1])
	me, err := pid.Look(self)
	its, err2 := pid.Look(worker)
	if err != nil || err2 != nil {
		return fmt.Errorf("%v, %v", err, err2)
	}
	if err := writeRecord(top, me.ID, its.ID); err != nil {
		return err
	}
	if how == "orphan" {
		for said := make([]byte, 1000); ; {
			if n, err := unix.Read(notify, said); err != nil || strings.Contains(string(said[:n]), "READY=1") {
				return err
			}
		}
	}

	var handed struct {
		Hold, Loop map[string]any
	}
	if err := json.Unmarshal([]byte(kept("handed.json")), &handed); err != nil {
		return err
	}
	handed.Hold["Lock"], handed.Hold["Run"] = lock, runFile
	handed.Hold["Worker"] = map[string]any{"PID": worker, "Start": its.Ticks}
	w := handed.Loop["Worker"].(map[string]any)
	w["PID"], w["Start"], w["Group"], w["Notify"], w["Line"] = worker, its.Ticks, worker, notify, line[0]
	handed.Loop["Sockets"].([]any)[0].(map[string]any)["FD"] = listening
	handed.Loop["Store"].([]any)[0].(map[string]any)["FD"] = keptFD
	handed.Loop["Reply"] = 3
	text, err := json.Marshal(handed)
	if err != nil {
		return err
	}
	state, err := unix.MemfdCreate("handed", 0)
	if err == nil {
		_, err = unix.Write(state, text)
	}
	if err != nil {
		return err
	}
	// Descriptor 3 is the reply's: ExtraFiles.
	return syscall.Exec(top+"/lifeline", append([]string{top + "/lifeline"}, argv...),
		append(os.Environ(), "LIFELINE_HANDED="+strconv.Itoa(state)))
}

// writeRecord puts this machine's pids into the record that the release has
// written. Its fields are: version, boot, pid namespace, hash of the directory,
// generation, supervisor, worker, time, searched, sum.
func writeRecord(top string, supervisor, worker pid.ID) error {
	found, _ := filepath.Glob(top + "/dir/web-*.run")
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var namespace unix.Stat_t
	if err == nil {
		err = unix.Stat("/proc/self/ns/pid", &namespace)
	}
	if err != nil {
		return err
	}
	hash := fnv.New64a()
	hash.Write([]byte(top + "/dir"))
	record := changed(string(text), func(f []string) {
		f[1], f[2], f[3] = strings.TrimSpace(string(boot)), fmt.Sprint(namespace.Ino), fmt.Sprintf("%012x",
			hash.Sum64()>>16)
		f[5], f[6] = fmt.Sprintf("%d:%d", supervisor.PID, supervisor.Ticks), fmt.Sprintf("%d:%d",
			worker.PID, worker.Ticks)
		f[7] = fmt.Sprint(worker.Ticks)
	})
	return os.WriteFile(found[0], []byte(record), 0o600)
}

// changed returns a record with other fields, and with the right length and sum.
func changed(record string, change func(field []string)) string {
	f := strings.Fields(record)
	change(f)
	body := strings.Join(f[:9], " ")
	return fmt.Sprintf("%-*s", len(record), fmt.Sprintf("%s %08x\n", body, crc32.ChecksumIEEE([]byte(body))))
}
