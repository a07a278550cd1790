// Package await waits in tests for states that can only be polled: those of another
// process, or of its files. It also moves the time of a synctest bubble on.
package await

import (
	"testing"
	"testing/synctest"
	"time"
)

// Limit is the longest time that That waits.
const Limit = time.Minute

// That waits until ok, or fails the test at Limit; what names the state.
func That(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Within(Limit, ok) {
		t.Fatalf("waited %s for: %s", Limit, what)
	}
}

// Within asks ok every millisecond, up to limit, and reports whether ok became
// true.
func Within(limit time.Duration, ok func() bool) bool {
	end := time.After(limit)
	clock := time.NewTicker(time.Millisecond)
	defer clock.Stop()
	for !ok() {
		select {
		case <-clock.C:
		case <-end:
			return ok()
		}
	}
	return true
}

// Pass moves the time of a synctest bubble on by d, which takes no real time, and
// waits until every goroutine in the bubble waits.
func Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
