//go:build !linux && !openbsd

package launch

import "syscall"

// Resources lists the limits with their names in limits.conf(5).
var Resources = [...]Resource{
	{"as", syscall.RLIMIT_AS}, {"core", syscall.RLIMIT_CORE}, {"cpu", syscall.RLIMIT_CPU}, {"data",
		syscall.RLIMIT_DATA},
	{"fsize", syscall.RLIMIT_FSIZE}, {"nofile", syscall.RLIMIT_NOFILE}, {"stack", syscall.RLIMIT_STACK},
}
