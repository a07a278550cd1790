//go:build freebsd || dragonfly

package launch

import (
	"math"
	"syscall"
)

// setLimit sets a limit; limits are signed numbers here.
func setLimit(l Limit) error {
	return syscall.Setrlimit(l.Resource,
		&syscall.Rlimit{Cur: int64(min(l.Soft, math.MaxInt64)), Max: int64(min(l.Hard, math.MaxInt64))})
}
