//go:build !linux

package guard

// watch does nothing here: Keep finds removed files by its slow poll.
type watch struct{}

func newWatch(string, ...string) *watch   { return nil }
func (w *watch) changed() <-chan struct{} { return nil }
func (w *watch) pending() bool            { return false }
func (w *watch) close()                   {}
