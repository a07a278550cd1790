/* A process tree that hides: tree MARKER PLAN. The plan of a process is its
   habits, then the plans of its children in brackets:

     s  a session of its own      g  a process group of its own
     t  SIGTERM, SIGINT, SIGHUP are ignored
     d  forked twice: its parent has ended already
     e  overwrites its environment, and its arguments with a title
     x  has executed itself again, with no environment at all
     r  a runaway: each process forks another and may end, up to 300 at once,
        until 120 s after the first process began

   Every process holds the FIFO "alive" of the directory open. When its habits
   are in place it writes a byte into the FIFO; then it waits forever. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ALIVE = 100, MOST = 300, SECONDS = 120 };

extern char **environ;
static char **args;
static const char *marker;

static void be(const char *plan);

static const char *skip(const char *p)
{
	int depth = 0;
	do {
		if (*p == '(')
			depth++;
		if (*p == ')')
			depth--;
		p++;
	} while (depth > 0 || p[-1] != ')');
	return p;
}

static pid_t split(void)
{
	pid_t child = fork();
	if (child < 0)
		_exit(6);
	return child;
}

static void begin(const char *plan)
{
	pid_t child = split();
	if (child == 0) {
		if (strcspn(plan, "d") < strcspn(plan, "(") && split() > 0)
			_exit(0);
		be(plan);
	}
	if (strcspn(plan, "d") < strcspn(plan, "("))
		waitpid(child, NULL, 0);
}

static void retitle(void)
{
	char *from = args[0], *end = from, title[200];
	for (char **a = args; *a; a++)
		end = *a + strlen(*a) + 1;
	for (char **e = environ; *e; e++)
		if (*e >= from)
			end = *e + strlen(*e) + 1;
	snprintf(title, sizeof title, "at work: %s", marker);
	marker = strdup(marker);
	memset(from, 0, (size_t)(end - from));
	memcpy(from, title, strlen(title) < (size_t)(end - from) ? strlen(title) : (size_t)(end - from) - 1);
}

static void run_away(void)
{
	struct { volatile int alive; time_t end; } *all;
	all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	all->alive = 1;
	all->end = time(NULL) + SECONDS;
	signal(SIGCHLD, SIG_IGN);
	if (write(ALIVE, ".", 1) != 1)
		_exit(3);
	pid_t first = getpid(); /* stays alive, so that no other process is found by its end */
	srand48(first);
	while (time(NULL) < all->end) {
		if (__sync_add_and_fetch(&all->alive, 1) <= MOST) {
			pid_t child = fork();
			if (child == 0) {
				srand48(getpid());
				if (lrand48() % 4 == 0)
					setsid();
			} else if (child < 0) {
				__sync_sub_and_fetch(&all->alive, 1);
			} else if (getpid() != first && lrand48() % 2 == 0) {
				__sync_sub_and_fetch(&all->alive, 1);
				_exit(0);
			}
		} else {
			__sync_sub_and_fetch(&all->alive, 1);
		}
		nanosleep(&(struct timespec){0, 3000000}, NULL);
	}
	_exit(0);
}

static void be(const char *plan)
{
	const char *p = plan;
	for (; *p && *p != '('; p++)
		switch (*p) {
		case 's': setsid(); break;
		case 'g': setpgid(0, 0); break;
		case 't': signal(SIGTERM, SIG_IGN), signal(SIGINT, SIG_IGN), signal(SIGHUP, SIG_IGN); break;
		case 'x': {
			char *again[] = {"tree", (char *)marker, (char *)p + 1, NULL}, *nothing[] = {NULL};
			execve("/proc/self/exe", again, nothing);
			_exit(7);
		}
		case 'r': run_away();
		}
	int wipe = strcspn(plan, "e") < strcspn(plan, "(");
	if (*p)
		for (p++; *p && *p != ')'; p = skip(p))
			begin(p);
	if (wipe)
		retitle();
	if (write(ALIVE, ".", 1) != 1)
		_exit(3);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	args = argv;
	if (argc != 3)
		return 2;
	marker = argv[1];
	if (fcntl(ALIVE, F_GETFD) < 0) {
		int fd = open("alive", O_WRONLY);
		if (fd < 0 || dup2(fd, ALIVE) < 0)
			return 2;
		close(fd);
	}
	be(strdup(argv[2]));
}
