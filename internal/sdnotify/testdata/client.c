/* A worker that uses libsystemd, as most C daemons do. Each argument is one
 * step; it says on standard output what sd_watchdog_enabled gave. */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>

static int step(const char *what) {
	if (!strcmp(what, "ready"))
		return sd_notify(0, "READY=1\nSTATUS=from C");
	if (!strcmp(what, "notifyf"))
		return sd_notifyf(0, "MAINPID=%lu\nERRNO=%i", (unsigned long) getpid(), 2);
	if (!strcmp(what, "reloading"))
		return sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lu", 123456789ul);
	if (!strcmp(what, "watchdog"))
		return sd_notify(0, "WATCHDOG=1");
	if (!strcmp(what, "stopping"))
		return sd_notify(0, "STOPPING=1");
	if (!strcmp(what, "remove"))
		return sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=state");
	if (!strcmp(what, "barrier"))
		return sd_notify_barrier(0, 5 * 1000000);
	if (!strcmp(what, "fdstore")) {
		int fd = memfd_create("state", MFD_CLOEXEC), fds[2], r;
		if (fd < 0 || write(fd, "kept", 4) != 4)
			return -1;
		fds[0] = fd;
		fds[1] = dup(fd); /* the store drops it: the same open file */
		r = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=state", fds, 2);
		close(fds[1]);
		close(fd);
		return r;
	}
	if (!strcmp(what, "enabled")) {
		uint64_t usec = 0;
		int r = sd_watchdog_enabled(0, &usec);
		printf("%d %llu\n", r, (unsigned long long) usec);
		return 1;
	}
	return -1;
}

int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		int r = step(argv[i]);
		if (r <= 0) {
			fprintf(stderr, "%s: %s\n", argv[i], r < 0 ? strerror(-r) : "not sent");
			return 1;
		}
	}
	return 0;
}
