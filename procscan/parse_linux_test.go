package procscan

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseFlocks(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []Flock
	}{
		"none":        {"", nil},
		"one":         {"1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF\n", []Flock{{2345, 1234}}},
		"without end": {"1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF", []Flock{{2345, 1234}}},
		"shared": {"1: FLOCK  ADVISORY  READ 7 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  READ 8 fe:00:1234 0 EOF\n",
			[]Flock{{7, 1234}, {8, 1234}}},
		"blocked": {"1: FLOCK  ADVISORY  WRITE 7 fe:00:1234 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 fe:00:1234 0 EOF\n",
			[]Flock{{7, 1234}}},
		"blocked deep": {"1: FLOCK  ADVISORY  WRITE 7 fe:00:1234 0 EOF\n1:  -> FLOCK  ADVISORY  WRITE 8 fe:00:1234 0 " +
			"EOF\n1:   -> FLOCK  ADVISORY  WRITE 9 fe:00:1234 0 EOF\n", []Flock{{7, 1234}}},
		"twice": {"1: FLOCK  ADVISORY  WRITE 7 fe:00:1 0 EOF\n2: FLOCK  ADVISORY  WRITE 7 fe:00:2 0 EOF\n",
			[]Flock{{7, 1}, {7, 2}}},
		"others": {"1: POSIX  ADVISORY  READ  5433 08:01:7864448 128 128\n2: OFDLCK ADVISORY  READ  -1 08:01:8 0 " +
			"EOF\n3: LEASE  ACTIVE    READ  12 08:01:9 0 EOF\n4: DELEG  ACTIVE    READ  13 08:01:9 0 EOF\n", nil},
		"a taker that has ended": {"1: FLOCK  ADVISORY  WRITE 0 fe:00:1234 0 EOF\n", []Flock{{0, 1234}}},
		"broken": {"FLOCK\n1: FLOCK\n1: FLOCK  ADVISORY  WRITE x fe:00:1234 0 EOF\n1: FLOCK ADVISORY " +
			"WRITE 7\n1: FLOCK  ADVISORY  WRITE 7 fe:00:x 0 EOF\n", nil},
	} {
		if got := ParseFlocks(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func FuzzParseFlocks(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF\n")
	f.Add("1: -> FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF\n")
	f.Add("1: FLOCK  ADVISORY  WRITE 0 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE " +
		"99999999999999999999 fe:00:1234 0 EOF")
	f.Fuzz(func(t *testing.T, text string) {
		locks := ParseFlocks(text)
		more := strings.TrimSuffix(text, "\n") + "\n9: -> FLOCK  ADVISORY  WRITE 4194304 fe:00:1234 0 EOF\n"
		if got := ParseFlocks(more); !slices.Equal(got, locks) {
			t.Errorf("a process that waits changed %v to %v", locks, got)
		}
		more = strings.TrimSuffix(text, "\n") + "\n9: FLOCK  ADVISORY  WRITE 4194304 fe:00:1234 0 EOF\n"
		if got := ParseFlocks(more); !slices.Contains(got, Flock{4194304, 1234}) {
			t.Errorf("%q hides a holder: %v", text, got)
		}
	})
}

func TestVariables(t *testing.T) {
	got := variables(
		[]byte("LIFELINE_NAME=web\x00PATH=/bin\x00LIFELINE_ID=a=b\x00LIFELINE_NAME=late\x00LIFELINE_\x00=x\x00"+
			"XLIFELINE_A=1\x00LIFELINE_E="),
		"LIFELINE_",
	)
	want := map[string]string{"LIFELINE_NAME": "web", "LIFELINE_ID": "a=b", "LIFELINE_E": ""}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzVariables(f *testing.F) {
	f.Add("LIFELINE_NAME=web\x00PATH=/bin\x00LIFELINE_NAME=late\x00", "LIFELINE_")
	f.Add("=\x00==\x00\x00A", "")
	f.Fuzz(func(t *testing.T, env, prefix string) {
		got := variables([]byte(env), prefix)
		for k, v := range got {
			if !strings.HasPrefix(k, prefix) || strings.Contains(k, "=") ||
				!slices.Contains(strings.Split(env, "\x00"), k+"="+v) {
				t.Errorf("%q=%q of %q", k, v, env)
			}
			// The first of two equal names counts, as for getenv(3).
			first := strings.Index("\x00"+env, "\x00"+k+"=")
			if rest := env[first:]; !strings.HasPrefix(rest, k+"="+v) {
				t.Errorf("%q=%q isn't the first in %q", k, v, env)
			}
		}
		for _, kv := range strings.Split(env, "\x00") {
			k, _, ok := strings.Cut(kv, "=")
			if _, found := got[k]; ok && strings.HasPrefix(k, prefix) && !found {
				t.Errorf("%q is missing from %v", kv, got)
			}
		}
	})
}
