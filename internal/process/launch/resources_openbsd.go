package launch

import "syscall"

// Resources lists the limits with their names in limits.conf(5). OpenBSD has no RLIMIT_AS.
var Resources = [...]Resource{
	{"core", syscall.RLIMIT_CORE}, {"cpu", syscall.RLIMIT_CPU}, {"data", syscall.RLIMIT_DATA},
	{"fsize", syscall.RLIMIT_FSIZE}, {"nofile", syscall.RLIMIT_NOFILE}, {"stack", syscall.RLIMIT_STACK},
}
