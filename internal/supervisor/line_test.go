package supervisor

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzWords writes arbitrary pieces to LIFELINE_FD. Each finished line comes out once, in
// order, and the buffer stays bounded.
func FuzzWords(f *testing.F) {
	f.Add([]byte("ping\ntakeover\n"), 3)
	f.Add([]byte("\n\n \r\nshut"), 1)
	f.Add(bytes.Repeat([]byte("x"), 3*lineMax), 100)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[1])
		if err := unix.SetNonblock(pair[0], true); err != nil {
			t.Fatal(err)
		}
		s := &lineSocket{f: os.NewFile(uintptr(pair[0]), "line")}
		defer s.close()
		size = max(1, min(size, lineMax/2))
		var got []string
		for rest := text; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := unix.Write(pair[1], rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			got = append(got, s.words()...)
			if len(s.rest) > lineMax {
				t.Fatalf("%d bytes are kept of a line", len(s.rest))
			}
		}
		if bytes.IndexByte(text, '\n') < 0 && len(got) > 0 {
			t.Errorf("%q became words: %q", text, got)
		}
		longest := 0
		lines := strings.Split(string(text), "\n")
		for _, line := range lines {
			longest = max(longest, len(line))
		}
		if longest >= lineMax/2 {
			return // too long for a word: dropped
		}
		for i, word := range got {
			if word != strings.TrimSpace(lines[i]) {
				t.Errorf("line %d of %q became %q", i, text, word)
			}
		}
		if len(got) != len(lines)-1 {
			t.Errorf("%d lines of %q became %d words", len(lines)-1, text, len(got))
		}
	})
}
