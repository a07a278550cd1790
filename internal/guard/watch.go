package guard

import "path/filepath"

// Watch sends on changed when one of the files may have gone from its path or got
// another name, until stop is called. Without inotify(7) it never sends.
func Watch(files ...string) (changed <-chan struct{}, stop func()) {
	w := newWatch(filepath.Dir(files[0]), files...)
	return w.changed(), w.close
}
