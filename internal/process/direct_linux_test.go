//go:build amd64 || arm64

package process

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// portrait prints all that a start can decide on, with the process's own pid
// and start time written as words.
const portrait = `
out=$1; start=$(cut -d' ' -f22 /proc/$$/stat)
{
	env | grep -v '^\(_\|PWD\|OLDPWD\|SHLVL\)=' | sort
	pwd; umask; ulimit -Sn; ulimit -Hn; ps -o pgid= -p $$
	while read -r line; do case $line in SigBlk*|SigIgn*) echo "$line" ;; esac; done </proc/$$/status
	for fd in /proc/$$/fd/*; do n=${fd##*/}; [ $n != 1 ] && [ $n -lt $((3 + ${LISTEN_FDS:-0})) ] || [ $n -gt 200 ] && echo $n $(stat -Lc %i $fd); done
	n=0; for fd in /proc/$$/fd/*; do n=$((n + 1)); done; echo $n
	echo "$2 $#"
} >$out.part
sed "s/\<$$\>/SELF/; s/\<$start\>/START/" $out.part >$out
`

// begin starts spec and returns what the command wrote, after its end.
func begin(t *testing.T, spec Spec) (wrote string, id procscan.ID, err error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	if spec.Argv == nil {
		spec.Argv = []string{"sh", "-c", portrait, "sh", out, "two words"}
	}
	if spec.Umask == 0 {
		spec.Umask = -1
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := Start(spec)
	if err != nil {
		return "", id, err
	}
	err = <-c.Started
	var status unix.WaitStatus
	for {
		if _, werr := unix.Wait4(c.PID, &status, 0, nil); werr != unix.EINTR {
			break
		}
	}
	text, _ := os.ReadFile(out)
	if err == nil && status != 0 {
		t.Errorf("ended with %v", Describe(status))
	}
	return string(text), c.ID, err
}

// TestDirect: a command started without a stub can't tell it from one with.
func TestDirect(t *testing.T) {
	run, err := os.Create(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	stray, err := unix.Dup(0) // inherited by chance: not the command's
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stray)
	env := []string{"LIFELINE_NAME=web", "LIFELINE_STUB=1", "A= b\nc", "PATH=/usr/bin:/bin"}
	for name, spec := range map[string]Spec{
		"plain":     {},
		"all":       {Dir: "/usr", Umask: 0o27, Run: int(run.Fd()), Control: pair[0], Listen: []int{pair[1], pair[0]}, ListenNames: []string{"a", "b"}, Deathsig: unix.SIGTERM, Group: true},
		"listen":    {Listen: []int{pair[1]}},
		"in time":   {Until: bootTime() + int64(time.Hour)},
		"low stdio": {Stdio: [3]int{pair[0], 1, 2}, Run: int(run.Fd())},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Env = env
			with, _, err := begin(t, spec)
			if err != nil || with == "" {
				t.Fatalf("with a stub: %q, %v", with, err)
			}
			spec.Sure = true
			without, id, err := begin(t, spec)
			if err != nil {
				t.Fatal(err)
			}
			if with != without {
				t.Errorf("with a stub:\n%s\nwithout (pid %d):\n%s", with, id.PID, without)
			}
			if !strings.Contains(without, "LIFELINE_PID=SELF\n") || !strings.Contains(without, "LIFELINE_START=START\n") {
				t.Errorf("not marked:\n%s", without)
			}
		})
	}
}

func TestDirectFails(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	noExec := filepath.Join(dir, "format")
	if err := errors.Join(os.WriteFile(plain, nil, 0o644), os.WriteFile(noExec, []byte("nothing"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]Spec{
		"not found":         {Argv: []string{dir + "/none"}},
		"not on PATH":       {Argv: []string{"no-such-command"}},
		"not executable":    {Argv: []string{plain}},
		"not a program":     {Argv: []string{noExec}},
		"a directory":       {Argv: []string{dir}},
		"no directory":      {Argv: []string{"/bin/true"}, Dir: dir + "/none"},
		"relative in a dir": {Argv: []string{"./none"}, Dir: dir},
		"too late":          {Until: bootTime()},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Env = os.Environ()
			_, _, with := begin(t, spec)
			spec.Sure = true
			_, _, without := begin(t, spec)
			if with == nil || without == nil {
				t.Fatalf("with a stub %v, without %v", with, without)
			}
			var a, b *ExecError
			if errors.As(with, &a) && (!errors.As(without, &b) || a.Code != b.Code) {
				t.Errorf("with a stub %v (%+v), without %v", with, a, without)
			}
			t.Log(without)
		})
	}
}

// regular is the shape the kernel writes (fs/proc/array.c, do_task_stat).
var regular = regexp.MustCompile(`(?s)^[0-9]+ \(.*\) [A-Za-z]( -?[0-9]{1,19})+\n?$`)

func FuzzStartField(f *testing.F) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("1 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 12345 20"))
	f.Add([]byte("1 (a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var buf [512]byte
		n := copy(buf[:], text)
		got := startField(&buf, n)
		want, err := procscan.ParseStat(buf[:n])
		if err == nil && regular.Match(buf[:n]) && got != want.Start {
			t.Errorf("%q gives %d, not %d", buf[:n], got, want.Start)
		}
	})
}

// TestDirectIsSeen: the child of a direct start shows itself as a stub does,
// before it is the command.
func TestDirectIsSeen(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(run, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(run, &st); err != nil {
		t.Fatal(err)
	}
	self := procscan.Self()
	whose := strconv.Itoa(self.PID) + ":" + strconv.FormatUint(self.Start, 10)
	text := make([]byte, 40)
	// It can't be written anywhere: as with a full disk, that is no reason not to run.
	draft := Draft{FD: -1, Text: text, PID: text[:10], Start: text[10:30], Summed: text[:30], Sum: text[30:38]}
	spec := Spec{Sure: true, Umask: -1, Argv: []string{"/bin/true"}, Place: Place{run, uint64(st.Dev), st.Ino}, Draft: draft,
		Env: []string{"LIFELINE_NAME=w", "LIFELINE_SPACE=/d", "LIFELINE_ID=g", "LIFELINE_STUB=1", "LIFELINE_SUPERVISOR=" + whose, "PATH=/usr/bin:/bin"}}
	unknown := spec
	unknown.Draft = Draft{}
	if _, ok, err := direct(unknown, place(unknown, -1)); ok {
		t.Errorf("without a record it is started all the same (%v)", err)
	}
	seen := make(chan map[string]string, 1)
	over := make(chan struct{})
	go func() {
		for {
			for _, s := range procscan.Children(self.PID) {
				if env, err := procscan.Environ(s.ID); err == nil && env["LIFELINE_STUB"] != "" {
					seen <- env
					return
				}
			}
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	var env map[string]string
	for deadline := time.Now().Add(time.Minute); env == nil && time.Now().Before(deadline); {
		if _, _, err := begin(t, spec); err != nil {
			t.Fatal(err)
		}
		select {
		case env = <-seen:
		default:
		}
	}
	close(over)
	if env["LIFELINE_NAME"] != "w" || env["LIFELINE_SPACE"] != "/d" || env["LIFELINE_STUB"] != whose {
		t.Errorf("before it was the command it showed %q", env)
	}

	// Another run file: whoever made that may have looked before the child could
	// be seen.
	if err := errors.Join(os.Rename(run, run+".old"), os.WriteFile(run, nil, 0o600)); err != nil {
		t.Error(err)
	}
	spec.Argv = nil
	if wrote, _, err := begin(t, spec); !errors.Is(err, ErrMoved) || wrote != "" {
		t.Errorf("the run file was made anew by another: %v; it ran as\n%s", err, wrote)
	}
}

// TestDirectWritesItselfDown: the command finds its own numbers in the record.
func TestDirectWritesItselfDown(t *testing.T) {
	record, err := os.Create(filepath.Join(t.TempDir(), "record"))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	text := []byte("is 0000000000 00000000000000000000 12345678\n")
	out := filepath.Join(t.TempDir(), "out")
	_, id, err := begin(t, Spec{Sure: true, Argv: []string{"/bin/cp", record.Name(), out}, Env: []string{"PATH=/usr/bin:/bin"},
		Draft: Draft{FD: int(record.Fd()), Text: text, PID: text[3:13], Start: text[14:34], Summed: text[:34], Sum: text[35:43]}})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("is %010d %020d", id.PID, id.Start)
	want += fmt.Sprintf(" %08x\n", crc32.ChecksumIEEE([]byte(want)))
	if got, err := os.ReadFile(out); string(got) != want || id.Start < procscan.Self().Start {
		t.Errorf("the record of %+v said %q, not %q (%v)", id, got, want, err)
	}
}

func TestAnnouncement(t *testing.T) {
	env := []string{"A=1", "LIFELINE_NAME=w", "LIFELINE_SPACE=/d", "LIFELINE_ID=g", "LIFELINE_STUB=1", "LIFELINE_SUPERVISOR=1:2"}
	all := "LIFELINE_NAME=w\x00LIFELINE_SPACE=/d\x00LIFELINE_STUB=1:2\x00"
	for room, want := range map[int]string{1000: all, len(all): all, len(all) - 1: "", 0: ""} {
		if got := string(announcement(env, room)); got != want {
			t.Errorf("in %d bytes: %q, want %q", room, got, want)
		}
	}
	if got := announcement(env[2:], 1000); got != nil {
		t.Errorf("without a name: %q", got)
	}
}

func FuzzWorkerEnviron(f *testing.F) {
	f.Add("LIFELINE_STUB=1\x00A=b")
	f.Add("LIFELINE_STUBBORN=1\x00LIFELINE_STUB\x00=\x00")
	f.Fuzz(func(t *testing.T, block string) {
		env := strings.Split(block, "\x00")
		marks := 0
		for _, kv := range env {
			if strings.HasPrefix(kv, stubMark+"=") {
				marks++
			}
		}
		got := workerEnviron(env, "7", "8")
		if len(got) != len(env)+marks {
			t.Errorf("%q became %q", env, got)
		}
		for _, kv := range got {
			if strings.HasPrefix(kv, stubMark+"=") {
				t.Errorf("still a stub: %q", got)
			}
		}
		if mark := announcement(env, 200); len(mark) > 200 || len(mark) > 0 && mark[len(mark)-1] != 0 {
			t.Errorf("an announcement of %q", mark)
		}
	})
}
