/* The worker of the watchdog's proofs: beats EVERY_MS COUNT [HOW]. It says
   READY=1, then COUNT times WATCHDOG=1 (0: forever), and hangs. At SIGABRT it
   writes the times of its last heartbeat and of the signal into the fifo
   "times" of its directory, and ends. At its start it writes 0 and its pid.
   HOW: helper, a child sends the heartbeats; deaf, the worker ignores SIGABRT
   and SIGTERM. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int times;
static volatile int64_t last;

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void say(int64_t a, int64_t b)
{
	int64_t said[2] = {a, b};
	if (write(times, said, sizeof said) != sizeof said)
		_exit(3);
}

static void aborted(int sig)
{
	(void)sig;
	int64_t at = now();
	say(last, at);
	_exit(0);
}

static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!path || strlen(path) >= sizeof to.sun_path || fd < 0)
		_exit(4);
	memcpy(to.sun_path, path, strlen(path));
	if (path[0] == '@')
		to.sun_path[0] = 0;
	/* This waits while the receiver has no room, as sd_notify(3) does. */
	if (sendto(fd, text, strlen(text), 0, (void *)&to, offsetof(struct sockaddr_un, sun_path) + strlen(path)) < 0)
		_exit(5);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 3 || (times = open("times", O_WRONLY)) < 0)
		return 2;
	long every = atol(argv[1]), count = atol(argv[2]);
	const char *how = argc > 3 ? argv[3] : "";
	struct timespec pause_for = {every / 1000, every % 1000 * 1000000};
	signal(SIGABRT, strcmp(how, "deaf") ? aborted : SIG_IGN);
	if (!strcmp(how, "deaf"))
		signal(SIGTERM, SIG_IGN);
	say(0, getpid());
	notify("READY=1");
	if (!strcmp(how, "helper") && fork() > 0)
		for (;;)
			pause();
	for (long n = 0; count == 0 || n < count; n++) {
		int64_t at = now();
		notify("WATCHDOG=1");
		last = at;
		nanosleep(&pause_for, NULL);
	}
	for (;;)
		pause();
}
