package tasks

import (
	"slices"
	"testing"
)

// TestSubcommands checks that the list that every tick looks at has each command there
// is.
func TestSubcommands(t *testing.T) {
	var want []string
	for _, c := range commands(nil) {
		want = append(want, c.Names()...)
	}
	slices.Sort(want)
	have := slices.Sorted(slices.Values(subcommands))
	if !slices.Equal(want, have) {
		t.Errorf("the commands are %q, the list is %q", want, have)
	}
}
