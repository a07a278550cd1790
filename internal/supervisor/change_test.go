package supervisor

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/proof/await"
)

func TestOnChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	synctest.Test(t, func(t *testing.T) {
		quit := make(chan struct{})
		var changes atomic.Int32
		go onChange(path, quit, printOf, func() { changes.Add(1) })
		want := func(n int32, d time.Duration) {
			t.Helper()
			await.Pass(d)
			if changes := changes.Load(); changes != n {
				t.Fatalf("%d changes, not %d", changes, n)
			}
		}
		want(0, time.Minute)
		write("a longer one") // being copied
		want(0, 700*time.Millisecond)
		write("a much longer one")
		want(0, 700*time.Millisecond)
		want(1, 2*time.Second)
		want(1, time.Minute)
		if err := os.Remove(path); err != nil { // gone for the time being
			t.Fatal(err)
		}
		want(1, time.Minute)
		write("another")
		want(2, 3*time.Second)
		close(quit)
	})
}
