package human

import (
	"testing"
	"time"
)

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"trminate": "terminate", "terminat": "terminate", "termnate": "terminate", "term": "terminate",
		"instal": "install", "relaod": "reload", "reolad": "reload", "restrat": "restart",
		"pin": "ping", "puase": "pause", "runn": "run", "unistall": "uninstall",
		"web": "", "app": "", "h2": "", "re": "", "a": "", "": "", "server": "", "backup": "",
	} {
		list := []string{"run", "terminate", "pause", "resume", "restart", "reload", "ping", "takeover", "install",
			"uninstall", "help", "h"}
		if got := Nearest(word, list); got != want {
			t.Errorf("%q: %q, not %q", word, got, want)
		}
	}
}

func TestSlips(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		n    int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"status", "statsu", 1}, {"respawn", "repsawn", 1}, {"ab", "ba", 1},
		{"kitten", "sitting", 3}} {
		if n := slips(tt.a, tt.b); n != tt.n || slips(tt.b, tt.a) != n {
			t.Errorf("%q, %q: %d, not %d", tt.a, tt.b, n, tt.n)
		}
	}
}

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0s", 0: "0s", 120 * time.Millisecond: "100ms", 9900 * time.Millisecond: "9.9s", 59 * time.Second: "59s",
		time.Minute: "1m", 61 * time.Second: "1m1s", 25 * time.Hour: "1d1h", 48 * time.Hour: "2d", 3*time.Hour +
			59*time.Minute: "3h59m",
	} {
		if got := Length(d); got != want {
			t.Errorf("%d: %s, not %s", d, got, want)
		}
	}
}
