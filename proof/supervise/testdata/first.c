/* The worker whose respawns are counted and measured. It has no C library, so
   that reading the clock is the first thing it does. It writes that time and
   its pid into the FIFO "times" of its directory. Then it waits for a byte from
   the FIFO "gate" and ends; without that FIFO it waits forever. */
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)
static long sys(long n, long a, long b, long c, long d)
{
	long r;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
static long sys(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#else
#error "only the system calls of x86-64 and arm64 are known here"
#endif

void _start(void)
{
	struct timespec now;
	long said[2], fd;
	char byte;

	sys(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0);
	said[0] = now.tv_sec * 1000000000 + now.tv_nsec;
	said[1] = sys(SYS_getpid, 0, 0, 0, 0);
	fd = sys(SYS_openat, AT_FDCWD, (long)"times", O_WRONLY, 0);
	sys(SYS_write, fd, (long)said, sizeof said, 0);
	fd = sys(SYS_openat, AT_FDCWD, (long)"gate", O_RDONLY, 0);
	if (fd >= 0 && sys(SYS_read, fd, (long)&byte, 1, 0) == 1)
		sys(SYS_exit_group, 0, 0, 0, 0);
	for (;;)
		sys(SYS_ppoll, 0, 0, 0, 0);
}
