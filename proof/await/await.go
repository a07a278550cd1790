// Package await waits in tests for what nothing tells of: a state of another
// process, a file that one leaves. And it is where a synctest bubble's time
// goes on.
package await

import (
	"testing"
	"testing/synctest"
	"time"
)

// Limit is how long That waits.
const Limit = time.Minute

// That waits until ok, which is what has to come.
func That(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Within(Limit, ok) {
		t.Fatal("it never came to that: " + what)
	}
}

// Within looks every millisecond whether it is ok, for as long as limit, and
// reports whether it came to that.
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

// Pass lets the time of a synctest bubble go on by d, of which nothing real
// passes, and waits until everything in the bubble waits.
func Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
