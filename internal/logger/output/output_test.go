package output

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"
)

// whole returns the text of all files of a log, oldest first, and their sizes.
func whole(t testing.TB, path string) (text []byte, sizes []int) {
	t.Helper()
	for n := 0; ; n++ {
		name := path
		if n > 0 {
			name = fmt.Sprintf("%s.%d", path, n)
		}
		part, err := os.ReadFile(name)
		if err != nil {
			return text, sizes
		}
		text, sizes = append(part, text...), append(sizes, len(part))
	}
}

func quiet(t testing.TB) func(string) {
	return func(text string) { t.Errorf("reported: %s", text) }
}

// FuzzRotation writes any text in any pieces. The files have all of it once, in order,
// and none is too large.
func FuzzRotation(f *testing.F) {
	f.Add([]byte("one\ntwo\nthree\nfour\n"), 8, 3)
	f.Add([]byte("a line that is longer than a file\nshort\n"), 10, 100)
	f.Add([]byte("\n\n\n\n\n\n"), 2, 1)
	f.Add(bytes.Repeat([]byte("x"), 100), 7, 50)
	f.Fuzz(func(t *testing.T, text []byte, max, piece int) {
		if max < 1 || piece < 1 || len(text)/max > 500 {
			return
		}
		path := filepath.Join(t.TempDir(), "log")
		l := OpenLog(Log{Path: path, MaxSize: int64(max), Keep: 1000}, quiet(t))
		for rest := text; len(rest) > 0; {
			n := min(piece, len(rest))
			l.Write(rest[:n])
			rest = rest[n:]
		}
		l.Close()
		got, sizes := whole(t, path)
		if !bytes.Equal(got, text) {
			t.Errorf("%q became %q in files of %v", text, got, sizes)
		}
		for _, size := range sizes {
			if size > max {
				t.Errorf("a file has %d bytes, and %d are allowed", size, max)
			}
		}
	})
}

func TestRotationKeepsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := OpenLog(Log{Path: path, MaxSize: 100, Keep: 3}, quiet(t))
	for i := range 100 {
		l.Write(fmt.Appendf(nil, "line %d\n", i))
	}
	l.Close()
	text, sizes := whole(t, path)
	if len(sizes) != 4 {
		t.Errorf("%d files, not the newest and 3 old ones", len(sizes))
	}
	first := 0
	_, _ = fmt.Sscanf(string(text), "line %d\n", &first)
	var want strings.Builder
	for i := first; i < 100; i++ {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if first == 0 || string(text) != want.String() {
		t.Errorf("kept from line %d on: %q", first, text)
	}
	for n := 0; n < 4; n++ {
		name := path
		if n > 0 {
			name = fmt.Sprintf("%s.%d", path, n)
		}
		if part, _ := os.ReadFile(name); !bytes.HasPrefix(part, []byte("line ")) ||
			!bytes.HasSuffix(part, []byte("\n")) {
			t.Errorf("%s cuts a line: %q", name, part)
		}
	}
	// From now on fewer files are kept.
	l = OpenLog(Log{Path: path, MaxSize: 100, Keep: 1}, quiet(t))
	for range 20 {
		l.Write([]byte("more lines\n"))
	}
	l.Close()
	if _, sizes := whole(t, path); len(sizes) != 2 {
		t.Errorf("%d files, not the newest and 1 old one", len(sizes))
	}
}

// TestRotationOfALinksTarget checks that a log behind a link is rotated where the link
// leads. Before, the link itself was moved.
func TestRotationOfALinksTarget(t *testing.T) {
	dir, disk := t.TempDir(), t.TempDir()
	path, real := filepath.Join(dir, "log"), filepath.Join(disk, "web.log")
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	l := OpenLog(Log{Path: path, MaxSize: 4, Keep: 9}, quiet(t))
	for range 4 {
		l.Write([]byte("abc\n"))
	}
	l.Close()
	if to, err := os.Readlink(path); err != nil || to != real {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if text, sizes := whole(t, real); string(text) != strings.Repeat("abc\n", 4) || len(sizes) != 4 {
		t.Errorf("%q in %v", text, sizes)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("beside the link: %v", list)
	}
	var shown bytes.Buffer
	if err := Show(t.Context(), &shown, path, 3, false); err != nil || shown.String() != strings.Repeat("abc\n", 3) {
		t.Errorf("lifeline logs shows %q, %v", shown.String(), err)
	}
}

// TestRotationByTwo has two names write and rotate one log, each with an open file of its
// own. Nothing of either is lost.
func TestRotationByTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const lines = 3000
	done := make(chan bool)
	for w := range 2 {
		go func() {
			l := OpenLog(Log{Path: path, MaxSize: 2000, Keep: 1000}, quiet(t))
			for i := range lines {
				l.Write(fmt.Appendf(nil, "%d %d\n", w, i))
			}
			l.Close()
			done <- true
		}()
	}
	<-done
	<-done
	text, _ := whole(t, path)
	seen := map[string]int{}
	for line := range strings.Lines(string(text)) {
		seen[line]++
	}
	for w := range 2 {
		for i := range lines {
			if line := fmt.Sprintf("%d %d\n", w, i); seen[line] != 1 {
				t.Fatalf("%q is there %d times", line, seen[line])
			}
		}
	}
}

// TestRotationCutShort begins with a file by two names, as a logger killed in a rotation
// leaves it. Its text isn't kept twice.
func TestRotationCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := OpenLog(Log{Path: path, MaxSize: 10, Keep: 5}, quiet(t))
	l.Write([]byte("line 1\n"))
	if err := os.Link(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("line 2\nline 3\n"))
	l.Close()
	if text, sizes := whole(t, path); string(text) != "line 1\nline 2\nline 3\n" || len(sizes) != 3 {
		t.Errorf("in %d files: %q", len(sizes), text)
	}
}

// TestMovedAway shows that the log leaves a file that another program (logrotate) has
// moved.
func TestMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := OpenLog(Log{Path: path}, quiet(t))
	defer l.Close()
	l.Write([]byte("before\n"))
	if err := os.Rename(path, path+"-old"); err != nil {
		t.Fatal(err)
	}
	l.looked = time.Time{} // a second later
	l.Write([]byte("after\n"))
	if text, _ := os.ReadFile(path); string(text) != "after\n" {
		t.Errorf("%q", text)
	}
}

// TestFull writes to a device that is always full. The failure is reported once, and the
// lost bytes are counted.
func TestFull(t *testing.T) {
	_, err := os.Stat("/dev/full")
	need.NoError(t, err)
	dir := t.TempDir()
	link := filepath.Join(dir, "log")
	if err := os.Symlink("/dev/full", link); err != nil {
		t.Fatal(err)
	}
	var told []string
	l := OpenLog(Log{Path: link, MaxSize: 100, Keep: 2}, func(s string) { told = append(told, s) })
	defer l.Close()
	for range 1000 {
		l.Write([]byte("lost\n"))
	}
	if len(told) != 1 || !strings.Contains(told[0], "no space left") || l.Trouble() == nil {
		t.Fatalf("told: %q", told)
	}
	// There is room again.
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	l.retry = time.Time{} // a second later
	l.Write([]byte("found\n"))
	text, _ := os.ReadFile(link)
	if len(told) != 2 || l.Trouble() != nil ||
		!strings.Contains(string(text), "lifeline: 5000 bytes are missing here") ||
		!strings.HasSuffix(string(text), "found\n") {
		t.Errorf("told: %q; the log has %q", told, text)
	}
}

// TestCannotRotate shows that a log in a directory that takes no new file grows on, and
// loses nothing.
func TestCannotRotate(t *testing.T) {
	if os.Geteuid() == 0 { // root may write anywhere, so another user runs the test
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestCannotRotate$")
		cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	var told []string
	l := OpenLog(Log{Path: path, MaxSize: 10, Keep: 2}, func(s string) { told = append(told, s) })
	defer l.Close()
	_ = os.Chmod(dir, 0o500)
	defer os.Chmod(dir, 0o700)
	for range 10 {
		l.Write([]byte("line\n"))
	}
	if text, _ := os.ReadFile(path); len(text) != 50 || len(told) != 1 {
		t.Errorf("%q; told %q", text, told)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/stderr", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		// The log process opened its own, and what the command printed was lost.
		"/dev/stdout":                  "leave out --log",
		"/proc/self/fd/2":              "leave out --log",
		filepath.Join(dir, "link"):     "leave out --log",
		filepath.Join(dir, "new"):      "",
		filepath.Join(dir, "no/where"): "directory doesn't exist",
		dir:                            "is a directory",
		"/dev/null":                    "",
		"/dev/full":                    "",
	} {
		if err := (Log{Path: path}).Check(); err == nil && want != "" || err != nil &&
			(want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// FuzzStamp cuts the text anywhere. Without the stamps the result is the text again.
func FuzzStamp(f *testing.F) {
	f.Add([]byte("one\ntwo\n\nthree"), 2)
	f.Add([]byte("\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		if piece < 1 {
			return
		}
		now := time.Date(2026, 11, 22, 9, 0, 0, 123e6, time.UTC)
		stamp := []byte("2026-11-22T09:00:00.123+00:00 ")
		var s Stamper
		var out []byte
		for rest := text; len(rest) > 0; {
			n := min(piece, len(rest))
			out = append(out, s.Stamp(rest[:n], now)...)
			rest = rest[n:]
		}
		var want []byte
		for line := range bytes.Lines(text) {
			want = append(append(want, stamp...), line...)
		}
		if !bytes.Equal(out, want) {
			t.Errorf("%q became %q", text, out)
		}
	})
}

func TestTail(t *testing.T) {
	for _, piece := range []int{1, 7, 999, TailMax - 1, TailMax, TailMax + 1, 5 * TailMax} {
		var all []byte
		var tail Tail
		for i := 0; len(all) < 6*TailMax; i++ {
			p := bytes.Repeat([]byte{byte('a' + i%26)}, piece)
			all = append(all, p...)
			tail.Write(p)
		}
		if got := tail.Take(); !bytes.Equal(got, all[len(all)-TailMax:]) {
			t.Errorf("pieces of %d: wrong end", piece)
		}
		tail.Write([]byte("again"))
		if got := tail.Take(); string(got) != "again" {
			t.Errorf("%q", got)
		}
	}
}

func TestSpool(t *testing.T) {
	for _, size := range []int{0, 1, spoolMem, spoolMem + 1, 3*spoolMem + 5} {
		var s Spool
		var all bytes.Buffer
		for all.Len() < size {
			p := bytes.Repeat([]byte{byte(all.Len())}, min(10_007, size-all.Len()))
			all.Write(p)
			s.Write(p)
		}
		var out bytes.Buffer
		if err := s.Show(&out); err != nil || !bytes.Equal(out.Bytes(), all.Bytes()) {
			t.Errorf("%d bytes: %d came back, %v", size, out.Len(), err)
		}
		if !s.Empty() {
			t.Errorf("%d bytes: not empty after all", size)
		}
	}
	// Without room for a file the beginning is kept, and the rest is counted.
	t.Setenv("TMPDIR", "/nowhere")
	var s Spool
	s.Write(bytes.Repeat([]byte("a"), spoolMem))
	s.Write([]byte("more"))
	s.Write([]byte("yet"))
	var out strings.Builder
	if err := s.Show(&out); err != nil || !strings.Contains(out.String(), "7 bytes more") {
		t.Errorf("%v: …%q", err, out.String()[spoolMem:])
	}
}

func TestShow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for name, text := range map[string]string{"": "7\n8\n9", ".1": "4\n5\n6\n", ".2": "1\n2\n3\n"} {
		if err := os.WriteFile(path+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[int]string{0: "", 1: "9", 2: "8\n9", 3: "7\n8\n9", 4: "6\n7\n8\n9",
		7: "3\n4\n5\n6\n7\n8\n9", 100: "1\n2\n3\n4\n5\n6\n7\n8\n9"} {
		var out strings.Builder
		if err := Show(t.Context(), &out, path, n, false); err != nil || out.String() != want {
			t.Errorf("%d lines: %q, %v", n, out.String(), err)
		}
	}
	if err := Show(t.Context(), io.Discard, path+"x", 1, false); err == nil {
		t.Error("no error for a log that isn't there")
	}
}

// TestFollow follows a log whose rotations come faster than Show looks.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := OpenLog(Log{Path: path, MaxSize: 1000, Keep: 1000}, quiet(t))
	defer l.Close()
	l.Write([]byte("first\n"))
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Show(ctx, w, path, 1, true) }()
	var got, want []byte
	buf := make([]byte, 4096)
	n, _ := r.Read(buf) // Show follows from now on
	got = append(got, buf[:n]...)
	want = append(want, "first\n"...)
	for i := range 2000 {
		line := fmt.Appendf(nil, "line %d\n", i)
		want = append(want, line...)
		l.Write(line)
	}
	for len(got) < len(want) {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	cancel()
	if err := <-ended; err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v; %d bytes came, of %d", err, len(got), len(want))
	}
}
