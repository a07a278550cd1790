package guard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeline/proof/await"
)

// tables counts the threads that have an inotify descriptor, and says whether
// this one has.
func tables(t *testing.T) (n int, here bool) {
	t.Helper()
	has := func(dir string) bool {
		links, _ := filepath.Glob(dir + "/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasSuffix(to, "inotify") {
				return true
			}
		}
		return false
	}
	threads, err := filepath.Glob("/proc/self/task/*/fd")
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, dir := range threads {
		if has(dir) {
			n++
		}
	}
	return n, has("/proc/self/fd")
}

// The watch sees a removed file, and its slow descriptor is in the table of one
// thread, which goes when the watch is closed.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWatch(dir, file)
	if n, here := tables(t); n != 1 || here {
		t.Errorf("%d threads have it; the process itself: %t", n, here)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.changed():
	case <-time.After(30 * time.Second):
		t.Fatal("a removed file isn't seen")
	}
	w.close()
	await.That(t, "closed, the thread is gone", func() bool { n, _ := tables(t); return n == 0 })
}
