// A function without a body, as go:linkname needs it, compiles only beside a file of assembly.
