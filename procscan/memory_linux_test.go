package procscan

import (
	"os"
	"testing"
)

func TestMemory(t *testing.T) {
	before := Memory(Self())
	big := make([]byte, 64<<20)
	for i := 0; i < len(big); i += os.Getpagesize() {
		big[i] = 1
	}
	if after := Memory(Self()); before == 0 || after < before+60<<20 {
		t.Errorf("%d bytes, and %d with 64 MB more", before, after)
	}
	if big[0] == 0 {
		t.Fatal()
	}
	self := Self()
	self.Start++
	if n := Memory(self); n != 0 {
		t.Errorf("%d bytes of another process with this pid", n)
	}
}

func TestParseRollup(t *testing.T) {
	const whole = "00400000-7ffd [rollup]\nRss:  2000 kB\nPss:    1000 kB\nPss_Dirty:   900 kB\nSwapPss:   24 " +
		"kB\nLocked: 0 kB\n"
	for text, want := range map[string]uint64{whole: 1024 << 10, "": 0, "Pss: x kB\n": 0, "Rss: 5 kB\n": 0} {
		if n, ok := parseRollup([]byte(text)); n != want || ok != (want > 0) {
			t.Errorf("%q: %d %t", text, n, ok)
		}
	}
}
