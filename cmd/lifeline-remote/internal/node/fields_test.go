package node

import (
	"strings"
	"testing"
)

// TestFiveFieldsOnly checks that a year is refused. With a year, gronx searched
// endlessly for the next tick after that year.
func TestFiveFieldsOnly(t *testing.T) {
	for _, text := range []string{"0 0 3 * * *", "0 0 1 1 * 2020", "0 0 3 * * * 2020", "TZ=UTC 0 0 0 1 1 * 2020"} {
		if _, err := parseSchedule(text); err == nil || !strings.Contains(err.Error(), "five fields") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
