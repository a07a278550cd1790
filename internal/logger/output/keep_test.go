package output

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeline/proof/await"
)

// lines returns lines of 100 bytes with the numbers from to to.
func lines(from, to int) []byte {
	var b bytes.Buffer
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "%099d\n", n)
	}
	return b.Bytes()
}

// packedDone waits until old files are compressed.
func (l *LogFile) packedDone(t *testing.T) {
	t.Helper()
	await.That(t, "compression", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !l.packing
	})
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestCompress shows that all old files except the newest are compressed, keep their
// place, and are read like others.
func TestCompress(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := OpenLog(Log{Path: path, MaxSize: 1000, Keep: 3, Compress: true}, quiet(t))
	defer l.Close()
	for n := range 4 { // each write fills a file
		l.Write(lines(10*n, 10*n+10))
		l.packedDone(t)
	}
	if got, want := names(t, dir), []string{"log", "log.1", "log.2.gz", "log.3.gz"}; !slices.Equal(got, want) {
		t.Fatalf("there is %q, not %q", got, want)
	}
	f, err := os.Open(path + ".3.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f) // another program than gzip(1), which made the file
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, lines(0, 10)) {
		t.Errorf("the oldest is %q, %v", text, err)
	}
	for _, n := range []int{5, 15, 25, 35, 40, 100} {
		var b bytes.Buffer
		if err := Show(context.Background(), &b, path, n, false); err != nil ||
			!bytes.Equal(b.Bytes(), lines(max(40-n, 0), 40)) {
			t.Errorf("the last %d lines: %d bytes, %v", n, b.Len(), err)
		}
	}
	l.Write(lines(40, 50)) // removes the oldest file
	l.packedDone(t)
	if got, want := names(t, dir), []string{"log", "log.1", "log.2.gz", "log.3.gz"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, not %q", got, want)
	}
	var b bytes.Buffer
	if err := Show(context.Background(), &b, path, 100, false); err != nil || !bytes.Equal(b.Bytes(), lines(10, 50)) {
		t.Errorf("%d bytes are left, %v", b.Len(), err)
	}
	// From now on fewer files are kept, and none is compressed.
	l.Keep, l.Compress = 1, false
	l.Write(lines(50, 60))
	if got, want := names(t, dir), []string{"log", "log.1"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, not %q", got, want)
	}
}

// TestCompressMoved shows that a rotation during a compression loses nothing.
func TestCompressMoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := OpenLog(Log{Path: path, MaxSize: 1000, Keep: 50, Compress: true}, quiet(t))
	defer l.Close()
	for n := range 40 {
		l.Write(lines(10*n, 10*n+10))
	}
	l.packedDone(t)
	var b bytes.Buffer
	if err := Show(context.Background(), &b, path, 1000, false); err != nil || !bytes.Equal(b.Bytes(), lines(0, 400)) {
		t.Errorf("%d bytes are there, %v: %q", b.Len(), err, names(t, dir))
	}
}

// TestLinkedLog shows that a link stays, even to a missing file, and that its target is
// rotated.
func TestLinkedLog(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "link"), filepath.Join(dir, "there")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("there/log", path); err != nil {
		t.Fatal(err)
	}
	l := OpenLog(Log{Path: path, MaxSize: 1000, Keep: 2, Mode: 0o604}, quiet(t))
	defer l.Close()
	for n := range 3 {
		l.Write(lines(10*n, 10*n+10))
	}
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", st, err)
	}
	if got := append(names(t, dir), names(t, other)...); !slices.Equal(got,
		[]string{"link", "there", "log", "log.1", "log.2"}) {
		t.Errorf("there is %q", got)
	}
	for _, name := range names(t, other) {
		if st, err := os.Stat(filepath.Join(other, name)); err != nil || st.Mode().Perm() != 0o604 {
			t.Errorf("%s has the mode %v, %v", name, st.Mode(), err)
		}
	}
	var b bytes.Buffer
	if err := Show(context.Background(), &b, path, 100, false); err != nil || !bytes.Equal(b.Bytes(), lines(0, 30)) {
		t.Errorf("%d bytes are there, %v", b.Len(), err)
	}
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var said []string
	s := OpenSyslog(path, "web", func(text string) { said = append(said, text) })
	defer s.Close()
	out, bad := SyslogLines{To: s, Priority: SyslogInfo}, SyslogLines{To: s, Priority: SyslogError}
	out.Write([]byte("lost\nlost too\n"))
	if len(said) != 1 || !strings.Contains(said[0], "no such file or directory; the command goes on") {
		t.Errorf("it said %q", said)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.retry = time.Time{} // the second is over
	out.Write([]byte("one\r\n\ntw"))
	bad.Write([]byte("why\n"))
	out.Write([]byte("o\n" + strings.Repeat("x", syslogLine+1) + "\nrest"))
	out.Flush()
	var got []string
	buf := make([]byte, 2*syslogLine)
	for range 6 {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		head, text, _ := strings.Cut(string(buf[:n]), " web: ")
		if _, err := time.Parse(time.Stamp, head[4:]); err != nil {
			t.Error(err)
		}
		got = append(got, head[:4]+strings.ReplaceAll(text, strings.Repeat("x", syslogLine), "8000 x"))
	}
	if want := []string{"<30>one", "<27>why", "<30>two", "<30>8000 x", "<30>x", "<30>rest"}; !slices.Equal(got, want) {
		t.Errorf("%q came, not %q", got, want)
	}
	if len(said) != 2 || !strings.Contains(said[1], "takes lines again; 2 are missing there") {
		t.Errorf("it said %q", said)
	}
	for _, text := range []string{"", "syslogd", "unix://x", "udp://127.0.0.1:514"} {
		if _, err := SyslogAddress(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
