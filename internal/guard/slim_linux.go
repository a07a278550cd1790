package guard

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// slim gives back the pages of the program that have been used: those that are
// needed again come back from the page cache by themselves, sixteen at a time
// (which is why a few system calls cost a megabyte). A supervisor waits for
// most of its life, perhaps beside hundreds of others. The heap is left alone:
// collecting it would dirty more pages than it frees.
func slim() {
	// For a private mapping of a file that is never written, MADV_DONTNEED
	// means that the next access reads the file again (madvise(2)). The
	// program's own code is last: what runs between would come back at once.
	for _, m := range readOnly() {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

type mapping struct{ from, to uintptr }

// readOnly is where this program's read-only parts are, from the last one to
// the first (proc_pid_maps(5)).
var readOnly = sync.OnceValue(func() (parts []mapping) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		var m mapping
		var perms string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.from, &m.to, &perms); n == 3 &&
			strings.HasPrefix(perms, "r") && perms[1] == '-' && strings.HasSuffix(strings.TrimSuffix(line, "\n"), self) {
			parts = append([]mapping{m}, parts...)
		}
	}
	return parts
})
