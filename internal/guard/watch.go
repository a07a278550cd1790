package guard

import "path/filepath"

// Watch rings changed when a file may have gone from its path, or may be there
// under another name. stop ends that. Without inotify(7) it never rings.
func Watch(files ...string) (changed <-chan struct{}, stop func()) {
	w := newWatch(filepath.Dir(files[0]), files...)
	return w.changed(), w.close
}
