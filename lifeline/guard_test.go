package lifeline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lifeline/internal/journal"
	"lifeline/lifeline"
)

func ExampleGuard_Do() {
	dir, err := os.MkdirTemp("", "lifeline")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	guard := lifeline.Guard{Dir: dir}
	err = guard.Do(context.Background(), "report", func(ctx context.Context) error {
		again := guard.Do(ctx, "report", func(context.Context) error { return nil })
		fmt.Println("a second call is held off:", errors.Is(again, lifeline.ErrHeld))
		return nil
	})
	fmt.Println("the first call:", err)
	// Output:
	// a second call is held off: true
	// the first call: <nil>
}

// TestDoWritesTheJournal checks the journal, from which status, history, check and
// metrics know of a program that guards itself.
func TestDoWritesTheJournal(t *testing.T) {
	dir := t.TempDir()
	guard := lifeline.Guard{Dir: dir}
	written := func() journal.State {
		t.Helper()
		files, _ := filepath.Glob(filepath.Join(dir, "report-*.state"))
		if len(files) != 1 {
			t.Fatalf("state files: %q", files)
		}
		state, err := journal.ReadState(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	for _, tt := range []struct {
		name    string
		block   func(context.Context) error
		outcome string
		why     string
	}{
		{"well", func(context.Context) error { return nil }, journal.OK, ""},
		{"with an error", func(context.Context) error { return errors.New("no such table") }, journal.Failed,
			"no such table"},
		{"by a panic", func(context.Context) error { panic("out of range") }, journal.Failed, "it panicked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			func() {
				defer func() { _ = recover() }()
				_ = guard.Do(t.Context(), "report", tt.block)
			}()
			s := written()
			if s.State != journal.Ended || s.Last == nil || s.Last.Outcome != tt.outcome || s.Last.Why != tt.why ||
				s.Last.Generation == "" {
				t.Errorf("%s, and the last run %+v", s.State, s.Last)
			}
		})
	}
}
