package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadLimits shows that the nearest line of limits.conf(5) counts; of equally near
// lines, the last.
func TestReadLimits(t *testing.T) {
	const none = uint64(unix.RLIM_INFINITY)
	file := filepath.Join(t.TempDir(), "limits.conf")
	for text, want := range map[string][2]uint64{
		"ann hard nproc 5":                           {none, 5},
		"ann - nproc 5":                              {5, 5},
		"ann soft nproc 4\nann hard nproc 5":         {4, 5},
		"* hard nproc 0\nann hard nproc 5":           {none, 5},
		"ann hard nproc 5\n* hard nproc 0":           {none, 5},
		"ann hard nproc 5\nann hard nproc 6":         {none, 6},
		"ann - nproc unlimited\n* - nproc 1":         {none, none},
		"5001:5002 hard nproc 7":                     {none, 7},
		"5002: hard nproc 7\n*  hard  nproc 9 # all": {none, 9},
	} {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := readLimits(pamRule{args: []string{"conf=" + file}}, person{name: "ann", uid: 5001})["nproc"]
		if got.soft != want[0] || got.hard != want[1] {
			t.Errorf("%s: %d, %d, want %v", text, got.soft, got.hard, want)
		}
	}
	if got := readLimits(pamRule{args: []string{"conf=" + file}}, person{name: "root"}); len(got) != 0 {
		t.Errorf("* isn't for root: %v", got)
	}
}
