//go:build !linux || (!amd64 && !arm64)

package process

// direct is for Linux, on the processors that vfork is written for: elsewhere
// there is always a stub.
func direct(Spec, layout) (c *Child, ok bool, err error) { return nil, false, nil }
