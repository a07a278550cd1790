//go:build !linux

package launch

// deathSignal does nothing: there is none here.
func deathSignal() (again func() error) { return func() error { return nil } }
