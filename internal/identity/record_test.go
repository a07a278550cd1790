package identity

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

var aRecord = Record{
	Boot: "0c5c1ee2-8f7f-4d4a-9f6c-0a3c2f0f8a11", PIDNamespace: 4026531836, Space: SpaceHash("/run/lifeline"),
	Generation: "00ff00ff00ff00ff",
	Supervisor: ID{4194304, 1 << 60}, Worker: ID{4711, 815}, Since: 820, Searched: true,
}

func TestRecordRoundTrip(t *testing.T) {
	for _, want := range []Record{
		aRecord,
		{},
		{Supervisor: ID{1, 1}},
		{Boot: strings.Repeat("b", 36), Space: SpaceHash("x"), Generation: strings.Repeat("g", 16),
			PIDNamespace: math.MaxUint64,
			Supervisor:   ID{math.MaxInt32, math.MaxUint64}, Worker: ID{math.MaxInt32,
				math.MaxUint64}, Since: math.MaxUint64},
	} {
		text := want.Encode()
		if len(text) != RecordSize || bytes.Count(text, []byte("\n")) != 1 {
			t.Errorf("%+v: %d bytes, %q", want, len(text), text)
		}
		got, err := Decode(text)
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// TestRecordFormat holds the layout, because other versions of lifeline read it.
func TestRecordFormat(t *testing.T) {
	line, pad, _ := strings.Cut(string(aRecord.Encode()), "\n")
	want := "lifeline2 0c5c1ee2-8f7f-4d4a-9f6c-0a3c2f0f8a11 4026531836 802a562aedf3 00ff00ff00ff00ff " +
		"4194304:1152921504606846976 4711:815 820 true "
	if !strings.HasPrefix(line, want) || len(line) != len(want)+8 || strings.Trim(pad, " ") != "" {
		t.Errorf("%q\nis not\n%q", line, want)
	}
}

// TestRecordDamage flips every bit of a record and cuts the record everywhere.
func TestRecordDamage(t *testing.T) {
	whole := aRecord.Encode()
	for i := range whole {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			if got, err := Decode(damaged); !errors.Is(err, ErrRecord) || got != (Record{}) {
				t.Fatalf("byte %d, bit %d: %+v, %v", i, bit, got, err)
			}
		}
		if _, err := Decode(whole[:i]); !errors.Is(err, ErrRecord) {
			t.Fatalf("cut off after %d bytes: %v", i, err)
		}
	}
	for _, text := range []string{string(whole) + " ", "", "\n", strings.Repeat(" ", 256), strings.Repeat("\x00", 256),
		strings.Repeat("\n", 256)} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrRecord) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(aRecord.Encode(), "boot", "gen", uint64(1), 2, uint64(3), 4, uint64(5))
	f.Add(Record{}.Encode(), "", "", uint64(0), 0, uint64(0), 0, uint64(0))
	f.Add([]byte("lifeline2 - 0 - - 0:0 0:0 0 false 00000000\n"), "-", "-", uint64(0), 0, uint64(0), 0, uint64(0))
	f.Fuzz(func(t *testing.T, text []byte, boot, generation string, ns uint64, supPID int, supStart uint64, pid int,
		start uint64) {
		if r, err := Decode(text); err == nil {
			// A text that can be decoded survives another round.
			if again, err := Decode(r.Encode()); err != nil || again != r {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		if !utf8.ValidString(boot) || !utf8.ValidString(generation) || strings.ContainsAny(boot+generation, " \n") ||
			supPID <= 0 || pid <= 0 {
			return
		}
		r := Record{Boot: boot, PIDNamespace: ns, Generation: generation, Supervisor: ID{supPID, supStart},
			Worker: ID{pid, start}}
		written := r.Encode()
		got, err := Decode(written)
		switch {
		case len(written) != RecordSize: // texts longer than any boot id must be refused
			if err == nil {
				t.Errorf("%d bytes were read as %+v", len(written), got)
			}
		case err != nil || got != r && boot != "-" && generation != "-":
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("12:34")
	f.Add(":")
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := ParseID(text); ok {
			if again, ok := ParseID(id.String()); !ok || again != id || id.PID <= 0 {
				t.Errorf("%q: %+v became %+v", text, id, again)
			}
		}
	})
}

// TestNames checks that keys differ in more than case, and that an announcement
// fits into the 15 bytes of a thread name.
func TestNames(t *testing.T) {
	if a, b := Key("web"), Key("Web"); strings.EqualFold(a, b) || !strings.HasPrefix(a, "web-") ||
		len(a) != len("web-")+12 {
		t.Errorf("%q %q", a, b)
	}
	a := Announcement("/run/lifeline", "web")
	if len(a) != 15 || !strings.HasPrefix(a, announcement) || a == Announcement("/run/lifelin", "eweb") {
		t.Errorf("%q", a)
	}
	m := Marker{"web", "/run/lifeline", "00ff", ID{5, 6}}
	env := map[string]string{}
	for _, kv := range m.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	if got, ok := MarkerOf(env); !ok || got != m {
		t.Errorf("%+v, %t", got, ok)
	}
	delete(env, EnvGeneration)
	if _, ok := MarkerOf(env); ok {
		t.Error("half a marker counts")
	}
}
