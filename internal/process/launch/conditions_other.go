//go:build !linux

package launch

// deathSignal does nothing: lifeline sets no death signal here.
func deathSignal() (again func() error) { return func() error { return nil } }
