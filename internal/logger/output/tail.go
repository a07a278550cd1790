package output

// TailMax is how much of the last output is kept for pings and reports: 10 kB, as
// healthchecks.io takes it.
const TailMax = 10_000

// Tail keeps the last TailMax bytes.
type Tail struct {
	buf []byte
}

// Write adds p to the tail.
func (t *Tail) Write(p []byte) {
	if len(p) >= TailMax {
		t.buf = append(t.buf[:0], p[len(p)-TailMax:]...)
		return
	}
	// The buffer has twice the size, so that each kept byte is moved about once.
	if len(t.buf)+len(p) > 2*TailMax {
		n := copy(t.buf, t.buf[len(t.buf)-(TailMax-len(p)):])
		t.buf = t.buf[:n]
	}
	t.buf = append(t.buf, p...)
}

// Take returns what is kept, and empties the tail.
func (t *Tail) Take() []byte {
	out := t.buf
	if len(out) > TailMax {
		out = out[len(out)-TailMax:]
	}
	out = append([]byte(nil), out...)
	*t = Tail{}
	return out
}
