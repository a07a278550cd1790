package guard

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"lifeline/procscan"
)

var aRecord = record{
	boot: "0c5c1ee2-8f7f-4d4a-9f6c-0a3c2f0f8a11", pidNS: 4026531836, generation: "00ff00ff00ff00ff",
	supervisor: procscan.ID{PID: 4194304, Start: 1 << 60}, worker: procscan.ID{PID: 4711, Start: 815}, searched: true,
}

func TestRecordRoundTrip(t *testing.T) {
	for _, want := range []record{
		aRecord,
		{},
		{supervisor: procscan.ID{PID: 1, Start: 1}},
		{boot: "b", generation: "g", pidNS: math.MaxUint64, supervisor: procscan.ID{PID: math.MaxInt32, Start: math.MaxUint64}, worker: procscan.ID{PID: math.MaxInt32, Start: math.MaxUint64}},
	} {
		text := want.marshal()
		if len(text) != recordSize || bytes.Count(text, []byte("\n")) != 1 {
			t.Errorf("%+v: %d bytes, %q", want, len(text), text)
		}
		got, err := parseRecord(text)
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// What another version of lifeline has written must go on being understood.
func TestRecordFormat(t *testing.T) {
	line, pad, _ := strings.Cut(string(aRecord.marshal()), "\n")
	want := "lifeline1 0c5c1ee2-8f7f-4d4a-9f6c-0a3c2f0f8a11 4026531836 00ff00ff00ff00ff 4194304 1152921504606846976 4711 815 true e5edcc47"
	if line != want || strings.Trim(pad, " ") != "" {
		t.Errorf("%q\nis not\n%q", line, want)
	}
}

// No byte of it can change without its being noticed, and no part be missing.
func TestRecordDamage(t *testing.T) {
	whole := aRecord.marshal()
	for i := range whole {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			if got, err := parseRecord(damaged); !errors.Is(err, errRecord) || got != (record{}) && err == nil {
				t.Fatalf("byte %d, bit %d: %+v, %v", i, bit, got, err)
			}
		}
		if _, err := parseRecord(whole[:i]); !errors.Is(err, errRecord) {
			t.Fatalf("cut off after %d bytes: %v", i, err)
		}
	}
	if _, err := parseRecord(append(bytes.Clone(whole), ' ')); !errors.Is(err, errRecord) {
		t.Errorf("too long: %v", err)
	}
	for _, text := range []string{"", "\n", strings.Repeat(" ", 256), strings.Repeat("\x00", 256), strings.Repeat("\n", 256)} {
		if _, err := parseRecord([]byte(text)); !errors.Is(err, errRecord) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRecordFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := readRecord(f); !errors.Is(err, errRecord) {
		t.Errorf("an empty file: %v", err)
	}
	// A record written over a longer file, and over a damaged one.
	if _, err := f.WriteString(strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(f); !errors.Is(err, errRecord) {
		t.Errorf("nonsense: %v", err)
	}
	if err := writeRecord(f, aRecord); err != nil {
		t.Fatal(err)
	}
	if got, err := readRecord(f); err != nil || got != aRecord {
		t.Errorf("%+v, %v", got, err)
	}
	if err := f.Truncate(255); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(f); !errors.Is(err, errRecord) {
		t.Errorf("one byte short: %v", err)
	}
}

func TestRecordHere(t *testing.T) {
	r := record{boot: procscan.BootID(), pidNS: procscan.PIDNamespace()}
	if !r.here() {
		t.Error("this boot and namespace aren't here")
	}
	elsewhere, earlier := r, r
	elsewhere.pidNS++
	earlier.boot = aRecord.boot
	if elsewhere.here() || earlier.here() {
		t.Error("another boot or namespace is here")
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(aRecord.marshal(), "boot", "gen", uint64(1), 2, uint64(3), 4, uint64(5))
	f.Add(record{}.marshal(), "", "", uint64(0), 0, uint64(0), 0, uint64(0))
	f.Add([]byte("lifeline1 - 0 - 0 0 0 0 00000000\n"), "-", "-", uint64(0), 0, uint64(0), 0, uint64(0))
	f.Fuzz(func(t *testing.T, text []byte, boot, generation string, ns uint64, supPID int, supStart uint64, pid int, start uint64) {
		if r, err := parseRecord(text); err == nil {
			if r.supervisor.PID < 0 || r.worker.PID < 0 || len(text) != recordSize {
				t.Errorf("%q gives %+v", text, r)
			}
			// What can be read says what it says: written again it is the same.
			if again, err := parseRecord(r.marshal()); err != nil || again != r {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		if !utf8.ValidString(boot) || !utf8.ValidString(generation) || strings.ContainsAny(boot+generation, " \t\n\v\f\r\u0085\u00a0") || supPID < 0 || pid < 0 {
			return
		}
		r := record{boot: boot, pidNS: ns, generation: generation, supervisor: procscan.ID{PID: supPID, Start: supStart}, worker: procscan.ID{PID: pid, Start: start}}
		written := r.marshal()
		got, err := parseRecord(written)
		switch {
		case len(written) != recordSize: // no boot id is that long; it must not be taken for a good one
			if err == nil {
				t.Errorf("%d bytes were read as %+v", len(written), got)
			}
		case err == nil && got != r && boot != "-" && generation != "-":
			t.Errorf("%+v became %+v", r, got)
		}
	})
}
