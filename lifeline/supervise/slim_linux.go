package supervise

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// dropText unmaps the pages of this program's read-only parts. For a private
// mapping of a file that is never written, MADV_DONTNEED means that the next
// access reads the file again (madvise(2)).
func dropText() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	type part struct{ from, to uintptr }
	var parts []part
	for line := range strings.Lines(string(text)) {
		var p part
		var perms string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &p.from, &p.to, &perms); n == 3 &&
			strings.HasPrefix(perms, "r") && perms[1] == '-' && strings.HasSuffix(strings.TrimSuffix(line, "\n"), self) {
			parts = append(parts, p)
		}
	}
	// All at the end, and the program's own code last: what runs between would
	// come back at once.
	for i := len(parts) - 1; i >= 0; i-- {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, parts[i].from, parts[i].to-parts[i].from, unix.MADV_DONTNEED)
	}
}
