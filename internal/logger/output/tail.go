package output

// TailMax is how much of the last output is kept for those who are told how a
// run went: 10 kB, as healthchecks.io takes it.
const TailMax = 10_000

// Tail keeps the last TailMax bytes.
type Tail struct {
	buf []byte
}

// Write adds to it.
func (t *Tail) Write(p []byte) {
	if len(p) >= TailMax {
		t.buf = append(t.buf[:0], p[len(p)-TailMax:]...)
		return
	}
	// Twice the size, so that bytes are moved once for each that is kept.
	if len(t.buf)+len(p) > 2*TailMax {
		n := copy(t.buf, t.buf[len(t.buf)-(TailMax-len(p)):])
		t.buf = t.buf[:n]
	}
	t.buf = append(t.buf, p...)
}

// Take gives what is kept and empties the tail.
func (t *Tail) Take() []byte {
	out := t.buf
	if len(out) > TailMax {
		out = out[len(out)-TailMax:]
	}
	out = append([]byte(nil), out...)
	*t = Tail{}
	return out
}
