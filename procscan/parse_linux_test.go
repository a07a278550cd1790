package procscan

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseLocks(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []int
	}{
		"none":         {"", nil},
		"one":          {"1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF\n", []int{2345}},
		"without end":  {"1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF", []int{2345}},
		"shared":       {"1: FLOCK  ADVISORY  READ 7 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  READ 8 fe:00:1234 0 EOF\n", []int{7, 8}},
		"blocked":      {"1: FLOCK  ADVISORY  WRITE 7 fe:00:1234 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 fe:00:1234 0 EOF\n", []int{7}},
		"blocked deep": {"1: FLOCK  ADVISORY  WRITE 7 fe:00:1234 0 EOF\n1:  -> FLOCK  ADVISORY  WRITE 8 fe:00:1234 0 EOF\n1:   -> FLOCK  ADVISORY  WRITE 9 fe:00:1234 0 EOF\n", []int{7}},
		"twice":        {"1: FLOCK  ADVISORY  WRITE 7 fe:00:1 0 EOF\n2: FLOCK  ADVISORY  WRITE 7 fe:00:2 0 EOF\n", []int{7}},
		"others": {"1: POSIX  ADVISORY  READ  5433 08:01:7864448 128 128\n2: OFDLCK ADVISORY  READ  -1 08:01:8 0 EOF\n" +
			"3: LEASE  ACTIVE    READ  12 08:01:9 0 EOF\n4: DELEG  ACTIVE    READ  13 08:01:9 0 EOF\n", nil},
		"another pid namespace": {"1: FLOCK  ADVISORY  WRITE 0 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE -1 fe:00:1234 0 EOF\n", nil},
		"broken":                {"FLOCK\n1: FLOCK\n1: FLOCK  ADVISORY  WRITE x fe:00:1234 0 EOF\n1: FLOCK ADVISORY WRITE 7\n", nil},
	} {
		if got := ParseLocks(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func FuzzParseLocks(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF\n")
	f.Add("1: -> FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF\n")
	f.Add("1: FLOCK  ADVISORY  WRITE 0 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE 99999999999999999999 fe:00:1234 0 EOF")
	f.Fuzz(func(t *testing.T, text string) {
		pids := ParseLocks(text)
		for i, pid := range pids {
			if pid <= 0 || slices.Contains(pids[:i], pid) {
				t.Errorf("%q gives %v", text, pids)
			}
		}
		more := strings.TrimSuffix(text, "\n") + "\n9: -> FLOCK  ADVISORY  WRITE 4194304 fe:00:1234 0 EOF\n"
		if got := ParseLocks(more); !slices.Equal(got, pids) {
			t.Errorf("one that waits changed %v to %v", pids, got)
		}
		more = strings.TrimSuffix(text, "\n") + "\n9: FLOCK  ADVISORY  WRITE 4194304 fe:00:1234 0 EOF\n"
		if got := ParseLocks(more); !slices.Contains(got, 4194304) {
			t.Errorf("%q hides one that holds: %v", text, got)
		}
	})
}

func TestHasVariable(t *testing.T) {
	for _, tt := range []struct {
		env, want string
		ok        bool
	}{
		{"A=1\x00", "A=1", true},
		{"A=1", "A=1", true},
		{"B=2\x00A=1", "A=1", true},
		{"B=2\x00A=1\x00", "A=1", true},
		{"", "A=1", false},
		{"A=12\x00", "A=1", false},
		{"A=12", "A=1", false},
		{"AA=1\x00", "A=1", false},
		{"AA=1", "A=1", false},
		{"AA=1\x00A=1\x00", "A=1", true},
		{"AA=1\x00AA=1\x00A=1", "A=1", true},
		{"X=A=1\x00", "A=1", false},
		{"A=\x00A=1\x00", "A=1", true},
		{"A=1 \x00", "A=1", false},
		{"A=web2\x00", "A=web", false},
		{"A=my-web\x00", "A=web", false},
		{"\x00\x00A=1\x00\x00", "A=1", true},
	} {
		if got := hasVariable([]byte(tt.env), []byte(tt.want+"\x00")); got != tt.ok {
			t.Errorf("%q in %q: %v", tt.want, tt.env, got)
		}
	}
}

func FuzzHasVariable(f *testing.F) {
	f.Add("A=1\x00B=2\x00", "A=1")
	f.Add("AA=1\x00A=1", "A=1")
	f.Add("A=A=A=1", "A=1")
	f.Add("LIFELINE_NAME=web2\x00XLIFELINE_NAME=web\x00", "LIFELINE_NAME=web")
	f.Fuzz(func(t *testing.T, env, want string) {
		if want == "" || strings.Contains(want, "\x00") {
			return
		}
		slow := slices.Contains(strings.Split(env, "\x00"), want)
		if got := hasVariable([]byte(env), []byte(want+"\x00")); got != slow {
			t.Errorf("%q in %q: %v", want, env, got)
		}
		// A whole variable is found wherever it stands.
		for _, whole := range []string{want + "\x00" + env, env + "\x00" + want, env + "\x00" + want + "\x00" + env} {
			if !hasVariable([]byte(whole), []byte(want+"\x00")) {
				t.Errorf("%q isn't found in %q", want, whole)
			}
		}
	})
}

func TestVariables(t *testing.T) {
	got := variables([]byte("LIFELINE_NAME=web\x00PATH=/bin\x00LIFELINE_ID=a=b\x00LIFELINE_NAME=late\x00LIFELINE_\x00=x\x00XLIFELINE_A=1\x00LIFELINE_E="), "LIFELINE_")
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
			if !strings.HasPrefix(k, prefix) || strings.Contains(k, "=") || !hasVariable([]byte(env), []byte(k+"="+v+"\x00")) {
				t.Errorf("%q=%q of %q", k, v, env)
			}
			// The first of a name counts, as for getenv(3).
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
