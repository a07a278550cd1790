/*
 * The guard's algorithm: two or three ticks of one name start at any time, while
 * files are removed, and processes end or are killed or stopped at any step.
 * guard_test.go checks every interleaving; README.md says how to read a trail.
 *
 * Promises:
 *   never two     after execve: no other command of the name lives
 *   never none    when everything has come to rest, one more tick runs
 *                 undisturbed: after it a command lives. Where that tick wakes a
 *                 stopped supervisor, which then gives the name back, the next
 *                 tick counts
 *   not all stand down
 *                 when everything has come to rest and there was no fault, a
 *                 command lives
 *   no deadlock   everything comes to rest
 *
 * Steps. Each is one atomic step here.
 *   supervisor: take the name
 *   openLock      open the lock file
 *   tryLock       lock it without blocking; busy: a stopped holder without a
 *                 worker gets SIGCONT, any other holder keeps the name
 *   checkFile     is it still what the path names?
 *   openRun       open the run file
 *   flockRun      try to lock it
 *   readRecord    whom does it name, and do they live?
 *   findHolder    busy, and the record doesn't say by whom: the process table
 *   adopt         write the orphan into the record, watch it
 *   noWorker      write itself into the record, without a worker
 *   launch: each start of a worker
 *   announce      take the thread name
 *   verifyLock    lock file in place and ours? else put it back, or stand down
 *   verifyRun     run file likewise; a respawn that finds both in place since
 *                 the last census goes to fork
 *   census        look at one process after another
 *   decide        worker seen: stand down or adopt; older contender: stand down
 *   waitExec      until each process that was seen in execve has shown what it is
 *   waitYounger   until each younger contender has withdrawn; then census again
 *   fork, inFork  vfork: stands still until the child is through with execve
 *   record        write the worker into the record
 *   withdraw      give the thread name back
 *   watching, vacate, standDown, abandon, releaseRun, releaseLock
 *                 until the worker ends; then the record, the files, the exit
 *   reload        start a second generation: announce, verifyLock and so on as for
 *                 each start, but the old generation doesn't count
 *   forkBeside    fork the new generation. The model lets the old generation end at
 *                 that moment, so that it is no evidence any more
 *   beside it: what is removed is put back, and the record written again (due)
 *   worker
 *   forked        has the thread name of its supervisor
 *   execve        shows nothing; its supervisor goes on already
 *   command       shows the marker, has the run file open, has a parent
 *
 * The census looks at the supervisors first and then at the workers. The code
 * looks at all processes in the order of their pids, and then at the processes
 * that were born meanwhile. Both see a worker that is forked during the pass. A
 * later census of the same start waits for no younger supervisor, because that
 * supervisor has seen this start.
 *
 * The slot's number says which tick is older, in whatever order they start: the
 * model allows more orders than start times and pids do.
 *
 * Left out: several uids, pids used again, leftovers, --exec, --wait, --replace,
 * another pid namespace, a directory that is moved away and back.
 *
 * Parts to take out, one at a time or several:
 *   NO_LOCK NO_RUN_LOCK NO_SCAN     either file, the census
 *   NO_INODE_CHECK NO_RECORD NO_PUTBACK NO_VERIFY NO_LOST NO_REPLACED
 *                                   lock file's check, record, put-back, verify,
 *                                   the look at another supervisor's record before
 *                                   a file is put back, the census after that
 *   NO_ANNOUNCE NO_TIEBREAK NO_WAIT NO_AGAIN NO_WAKE
 *                                   thread name, the older wins, the wait for the
 *                                   younger, the census after it, SIGCONT
 *   NO_NEWBORN NO_EXEC NO_RETAKE    in the census: those born meanwhile, those in
 *                                   execve, those in execve at a later census
 *   NO_MARKER NO_DESCRIPTOR NO_PARENT   its evidence
 *   VERIFY_FIRST CENSUS_FIRST       announce after verify, after the census
 *   WITHDRAW_FIRST WITHDRAW_AT_EXEC withdraw before the fork, before the record
 *   NO_REVERIFY                     in a reload: verify and the census
 *   STAND_DOWN_BOTH                 each contender that sees another gives up
 * and what else can happen:
 *   REMOVALS KILLS DEATHS RESPAWNS RELOADS DAMAGES STOPS
 *                                   how many at most
 *   HIDES                           a worker wipes its marker or closes the run file
 *   BOTH                            and may do both, once the record names it
 *   UNHELD                          files are removed only while no lock is held
 *   QUIET                           no file is removed during a start, and ticks begin
 *                                   when every file has been put back
 */
#ifndef TICKS
#define TICKS 3
#endif
#ifndef REMOVALS
#define REMOVALS 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef RESPAWNS
#define RESPAWNS 0
#endif
#ifndef RELOADS
#define RELOADS 0
#endif
#ifndef DAMAGES
#define DAMAGES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef HIDES
#define HIDES 0
#endif

#define N     TICKS
#define LAST  N		/* the tick that comes after all faults */
#define FILES 7

mtype = {
	cron, openLock, tryLock, checkFile, openRun, flockRun, readRecord, findHolder, adopt, noWorker,
	announce, verifyLock, verifyRun, census, decide, waitExec, waitYounger, fork, inFork, record, withdraw,
	watching, reload, forkBeside, vacate, standDown, abandon, releaseRun, releaseLock, ended,
	none, forked, execve, command
}

/* Slot i has a supervisor and its worker. Fields where 0 means none hold i+1. */
mtype sup[N+1] = cron;
mtype wrk[N+1] = none;

bit  announced[N+1];			/* the supervisor's thread has the announcement's name */
bit  wiped[N+1];			/* the worker has wiped its marker */

/* Files. The file that the path names is 1; a removed file that is still open
 * gets another number. A flock belongs to an open file description, so a worker
 * and its supervisor share the run file's lock while both have the same file. */
bit  lockThere, runThere;		/* the path names a file */
byte lk[N+1];  bit lkHeld[N+1];		/* supervisor: lock file open, locked */
byte rn[N+1];  bit rnHeld[N+1];		/* supervisor: run file */
byte rw[N+1];  bit rwHeld[N+1];		/* worker: run file, inherited */
byte recSup[FILES], recWrk[FILES];	/* the record in each run file */

bit  beside[N+1];			/* a reload: the supervisor's own worker may live */
bit  keeps[N+1];			/* supervisor: puts removed files back */
bit  due[N+1];				/* the file is put back, its record isn't written yet */
byte watch[N+1];			/* the worker it watches */
bit  looked[N+1];			/* a census has shown that no other worker lives */
bit  replaced[N+1];			/* a file has been put back since that census */
byte at[N+1], younger[N+1], unknown[N+1], found[N+1]; bit older[N+1];	/* what the census has seen */
#ifdef NO_NEWBORN
byte list[N+1];
#endif
bit  again[N+1];			/* a census after the first */
#ifdef NO_RETAKE
#define RETAKEN(j) (!again[j])
#else
#define RETAKEN(j) true
#endif
#if STOPS
bit  stopped[N+1];
bit  woke;
byte stops;
#endif
byte removals, kills, deaths, respawns, reloads, damages, hides;
bit  over;				/* no more faults */
hidden byte x, y;

#if TICKS == 2
#define ANY(p)     (p(0) || p(1) || p(2))
#define ALL(p)     (p(0) && p(1) && p(2))
#define SUM(p)     (p(0) + p(1) + p(2))
#define EACH(f)    f(0); f(1); f(2)
#else
#define ANY(p)     (p(0) || p(1) || p(2) || p(3))
#define ALL(p)     (p(0) && p(1) && p(2) && p(3))
#define SUM(p)     (p(0) + p(1) + p(2) + p(3))
#define EACH(f)    f(0); f(1); f(2); f(3)
#endif

#define UP(j)      (sup[j] != ended && sup[j] != cron)
#define ALIVE(w)   (w && wrk[w-1] != none)
#define SUPALIVE(y) (y && y != i+1 && UP(y-1))
#define is_cmd(j)  (wrk[j] == command)
#define COMMANDS   SUM(is_cmd)

#define locks(j)   (lkHeld[j] && lk[j] == x)
#define locksRun(j) (rnHeld[j] && rn[j] == x || rwHeld[j] && rw[j] == x)
#define hasLock(j) (lk[j] == x)
#define hasRun(j)  (rn[j] == x || rw[j] == x)
#define lock1(j)   (lkHeld[j] && lk[j] == 1)
#define run1(j)    (rnHeld[j] && rn[j] == 1 || rwHeld[j] && rw[j] == 1)

#define moveLk(j)  if :: lk[j] == 1 -> lk[j] = x :: else fi
#define moveRn(j)  if :: rn[j] == 1 -> rn[j] = x :: else fi
#define moveRw(j)  if :: rw[j] == 1 -> rw[j] = x :: else fi
inline removeLock() {
	x = 2;
	do :: ANY(hasLock) -> x++ :: else -> break od;
	EACH(moveLk);
	lockThere = 0; x = 0
}
inline removeRun() {
	x = 2;
	do :: ANY(hasRun) -> x++ :: else -> break od;
	assert(x < FILES);
	recSup[x] = recSup[1]; recWrk[x] = recWrk[1]; recSup[1] = 0; recWrk[1] = 0;
	EACH(moveRn); EACH(moveRw);
	runThere = 0; forget()
}
/* A removed file ends when no process has it open. */
inline forget() {
	x = 2;
	do
	:: x < FILES ->
		if :: !ANY(hasRun) -> recSup[x] = 0; recWrk[x] = 0 :: else fi;
		x++
	:: else -> break
	od;
	x = 0
}
#ifdef NO_RECORD
#define writeRecord(f, s, w) skip
#else
inline writeRecord(f, s, w) { if :: f -> recSup[f] = s+1; recWrk[f] = w :: else fi }
#endif

#define FIRSTAGAIN(j) again[j] = 0
inline forgetCensus(j) { FIRSTAGAIN(j); at[j] = 0; younger[j] = 0; unknown[j] = 0; found[j] = 0; older[j] = 0 }

/* The end of a process closes all that it has open. */
inline endSupervisor(j) {
	sup[j] = ended; lk[j] = 0; lkHeld[j] = 0; rn[j] = 0; rnHeld[j] = 0; keeps[j] = 0; due[j] = 0; beside[j] = 0;
	watch[j] = 0; announced[j] = 0; looked[j] = 0; replaced[j] = 0;
#if STOPS
	stopped[j] = 0;
#endif
	forgetCensus(j);
	forget()
}
inline endWorker(j) {
	wrk[j] = none; wiped[j] = 0; rw[j] = 0; rwHeld[j] = 0;
	forget()
}

/* The evidence by which a census sees that a process is a worker of the name. */
#ifdef NO_MARKER
#define byMarker(j) 0
#else
#define byMarker(j) (!wiped[j])
#endif
#ifdef NO_DESCRIPTOR
#define byDescriptor(j) 0
#else
#define byDescriptor(j) (rw[j] != 0)
#endif
#ifdef NO_PARENT
#define byParent(j) 0
#else
#define byParent(j) UP(j)
#endif
#define seen(j)    (wrk[j] == command && (byMarker(j) || byDescriptor(j) || byParent(j)))

#ifdef NO_ANNOUNCE
#define ANNOUNCED(j) 0
#else
#define ANNOUNCED(j) announced[j]
#endif
#if defined(NO_ANNOUNCE) || defined(WITHDRAW_FIRST)
#define FORKED(j)  0
#else
#define FORKED(j)  (wrk[j] == forked)	/* the child has the name of the thread that forked it */
#endif

#define lockOK(j)  (lk[j] == 1)
#define runOK(j)   (rn[j] == 1)
#ifdef NO_PUTBACK
#define keeping(j) 0
#else
#define keeping(j) (keeps[j] && !due[j] && RUNS(j))
#endif
#ifdef NO_LOST
#define lost(i)    0
#else
/* The record at the path names another living process. */
#define lost(i)    (runThere && (SUPALIVE(recSup[1]) || recSup[1] != i+1 && ALIVE(recWrk[1]) && recWrk[1] != watch[i]))
#endif
#ifdef NO_LOCK
#define canLock(j) 0
#else
#define canLock(j) (keeping(j) && !lockOK(j) && !ANY(lock1))
#endif
#ifdef NO_RUN_LOCK
#define canRun(j)  0
#else
#define canRun(j)  (keeping(j) && (lockOK(j) || NOLOCK) && !runOK(j) && !ANY(run1) && !lost(j))
#endif
#ifdef NO_LOCK
#define NOLOCK 1
#else
#define NOLOCK 0
#endif

#if STOPS
#define RUNS(j)    (!stopped[j])
#ifdef NO_WAKE
#define wake(j)    skip
#else
/* SIGCONT for a supervisor that is stopped without a living worker. */
#define wake(j)    if :: stopped[j] && !ALIVE(watch[j]) -> stopped[j] = 0; woke = 1 :: else fi
#endif
#else
#define RUNS(j)    true
#define wake(j)    skip
#endif
#define IS(s)      (sup[i] == s && RUNS(i))

#ifdef NO_LOCK
#define FIRST WON
#else
#define FIRST openLock
#endif
#ifdef NO_RUN_LOCK
#define WON noWorker
#else
#define WON openRun
#endif

/* The order of a start's steps, which some parts change. */
#define LAUNCH announce
#define ANNOUNCED_NEXT verifyLock
#define VERIFIED (looked[i] && INTACT(i) -> CLEAR : LOOK)
#define CLEAR (beside[i] -> forkBeside : fork)
#define LOOK census
#ifdef NO_REVERIFY
#define REVERIFY forkBeside
#else
#define REVERIFY verifyLock
#endif
#define GIVE_WAY (beside[i] -> withdraw : standDown)
#ifdef VERIFY_FIRST		/* r1: announce after verify */
#undef LAUNCH
#undef ANNOUNCED_NEXT
#undef VERIFIED
#define LAUNCH verifyLock
#define VERIFIED announce
#define ANNOUNCED_NEXT (looked[i] && INTACT(i) -> CLEAR : LOOK)
#endif
#ifdef CENSUS_FIRST
#undef LAUNCH
#undef ANNOUNCED_NEXT
#undef CLEAR
#define LAUNCH verifyLock
#define CLEAR announce
#define ANNOUNCED_NEXT fork
#endif
#ifdef NO_SCAN
#undef LOOK
#define LOOK fork
#endif
#if defined(NO_REPLACED)
#define INTACT(i) 1
#elif defined(NO_LOCK) && defined(NO_RUN_LOCK)
#define INTACT(i) 0		/* without files a census is needed each time */
#else
#define INTACT(i) (!replaced[i])
#endif

#if STOPS && !defined(NO_WAKE)
#define asleep(j) (lkHeld[j] && lk[j] == x && stopped[j] && !ALIVE(watch[j]))
#define rouse(j)  if :: asleep(j) -> stopped[j] = 0; woke = 1 :: else fi
#else
#define asleep(j) 0
#define rouse(j)  skip
#endif

#ifdef QUIET
#define missing(j) (keeping(j) && !(lockOK(j) && runOK(j)) || due[j])
#define BEGIN (!ANY(missing))
#else
#define BEGIN true
#endif

active [N+1] proctype Supervisor() {
	byte i = _pid;
end:	do
	:: d_step { IS(cron) && (i != LAST || over) && BEGIN ->
#ifdef NO_LOCK
		sup[i] = WON }
#else
		lockThere = 1; lk[i] = 1; sup[i] = tryLock }
	:: d_step { IS(openLock) -> lockThere = 1; lk[i] = 1; sup[i] = tryLock }
	:: d_step { IS(tryLock) -> x = lk[i];
		if
		:: !ANY(locks) -> lkHeld[i] = 1; sup[i] = checkFile
		:: ANY(locks) && ANY(asleep) -> EACH(rouse)	/* and tries again */
		:: else -> endSupervisor(i)
		fi;
		x = 0 }
	:: d_step { IS(checkFile) ->
		if
#ifndef NO_INODE_CHECK
		:: lk[i] != 1 -> lk[i] = 0; lkHeld[i] = 0; sup[i] = openLock
#endif
		:: else -> sup[i] = WON
		fi }
#endif

#ifndef NO_RUN_LOCK
	:: d_step { IS(openRun) -> runThere = 1; rn[i] = 1; sup[i] = flockRun }
	:: d_step { IS(flockRun) -> x = rn[i];
		if :: !ANY(locksRun) -> rnHeld[i] = 1 :: else fi;
		x = 0; sup[i] = readRecord }
	:: d_step { IS(readRecord) ->
		x = recWrk[rn[i]]; y = recSup[rn[i]];
		if
		:: (ALIVE(x) || !rnHeld[i]) && SUPALIVE(y) -> wake(y-1); sup[i] = standDown
		:: ALIVE(x) && !SUPALIVE(y) -> watch[i] = x; sup[i] = adopt
		:: !ALIVE(x) && rnHeld[i] -> sup[i] = noWorker
		:: else -> sup[i] = findHolder
		fi;
		x = 0; y = 0 }
	/* the record doesn't name the holder, but the process table does */
#define holds(j)  (rw[j] == rn[i])
#define above(j)  (j != i && rnHeld[j] && rn[j] == rn[i])
#define worker1(j) if :: holds(j) && !watch[i] -> watch[i] = j+1 :: else fi
#define awaken(j) if :: above(j) -> wake(j) :: else fi
	:: d_step { IS(findHolder) ->
		if
		:: ANY(above) -> EACH(awaken); sup[i] = standDown
		:: !ANY(above) && ANY(holds) -> EACH(worker1);
			if :: UP(watch[i]-1) -> watch[i] = 0; sup[i] = standDown :: else -> sup[i] = adopt fi
		:: else -> sup[i] = flockRun
		fi }
	:: d_step { IS(adopt) && !due[i] ->
		writeRecord(rn[i], i, watch[i]); keeps[i] = 1; announced[i] = 0; sup[i] = watching }
#else
	:: d_step { IS(adopt) -> announced[i] = 0; keeps[i] = 1; sup[i] = watching }
#endif
	:: d_step { IS(noWorker) -> writeRecord(rn[i], i, 0); keeps[i] = 1; sup[i] = LAUNCH }

	/* launch: each start of a worker */
	:: d_step { IS(announce) -> announced[i] = 1; again[i] = 0; sup[i] = ANNOUNCED_NEXT }
	:: d_step { IS(verifyLock) && !due[i] ->
		if
#if !defined(NO_LOCK) && !defined(NO_VERIFY)
		:: lk[i] != 1 && ANY(lock1) -> sup[i] = GIVE_WAY
		:: lk[i] != 1 && !ANY(lock1) -> lockThere = 1; lk[i] = 1; replaced[i] = 1; sup[i] = verifyRun
#endif
		:: else -> sup[i] = verifyRun
		fi }
	:: d_step { IS(verifyRun) && !due[i] ->
		if
#if !defined(NO_RUN_LOCK) && !defined(NO_VERIFY)
		:: !(rn[i] == 1 && rnHeld[i]) && (ANY(run1) || lost(i)) -> sup[i] = GIVE_WAY
		:: !(rn[i] == 1 && rnHeld[i]) && !(ANY(run1) || lost(i)) ->
			runThere = 1; rn[i] = 1; rnHeld[i] = 1; replaced[i] = 1; due[i] = 1; forget()
#endif
		:: else -> sup[i] = VERIFIED;
			if :: !(looked[i] && INTACT(i)) -> looked[i] = 0; replaced[i] = 0 :: else fi
		fi }

	/* the census: first the supervisors, then the workers, so that a start during
	 * the pass is seen as a supervisor or as its worker */
	:: d_step { IS(census) ->
#ifdef NO_NEWBORN
		if :: at[i] == 0 -> list[i] = ((wrk[0] != none) | (wrk[1] != none) << 1 | (wrk[2] != none) << 2
#if TICKS == 3
			| (wrk[3] != none) << 3
#endif
			) :: else fi;
#endif
		x = at[i] % (N+1);
		if
		:: x == i
		:: x != i && at[i] <= N ->
			if
			:: UP(x) && ANNOUNCED(x) && x < i -> older[i] = 1; wake(x)
			:: UP(x) && ANNOUNCED(x) && x > i && !again[i] -> younger[i] = younger[i] | (1 << x)
			:: else
			fi
#ifdef NO_NEWBORN
		:: x != i && at[i] > N && !(list[i] & (1 << x))
#define LISTED (list[i] & (1 << x))
#else
#define LISTED 1
#endif
		:: x != i && at[i] > N && LISTED ->
			if
			:: FORKED(x) && x < i -> older[i] = 1
			:: FORKED(x) && x > i -> younger[i] = younger[i] | (1 << x)
#ifndef NO_EXEC
			:: wrk[x] == execve && RETAKEN(i) -> unknown[i] = unknown[i] | (1 << x)
#endif
			:: seen(x) && !found[i] -> found[i] = x+1
			:: else
			fi
		fi;
		at[i] = at[i] + 1;
		if :: at[i] == 2*(N+1) -> at[i] = 0; sup[i] = decide
#ifdef NO_NEWBORN
			; list[i] = 0
#endif
		:: else fi;
		x = 0 }
	:: d_step { IS(decide) ->
		if
		:: found[i] ->
			if
			:: UP(found[i]-1) || beside[i] -> sup[i] = GIVE_WAY
			:: else -> watch[i] = found[i]; sup[i] = adopt
			fi
#ifdef STAND_DOWN_BOTH
		:: !found[i] && (older[i] || younger[i]) -> sup[i] = standDown
#else
#ifndef NO_TIEBREAK
		:: !found[i] && older[i] -> sup[i] = GIVE_WAY
#endif
#endif
		:: else -> sup[i] = waitExec
		fi;
		found[i] = 0; older[i] = 0 }
#define shown(j)  (unknown[i] & (1 << j)) && wrk[j] != execve
#define show(j)   (shown(j)) -> if \
	:: seen(j) -> found[i] = j+1; unknown[i] = 0; younger[i] = 0; sup[i] = decide \
	:: else -> unknown[i] = unknown[i] & ~(1 << j) fi
	:: d_step { IS(waitExec) && show(0) }
	:: d_step { IS(waitExec) && show(1) }
	:: d_step { IS(waitExec) && show(2) }
#if TICKS == 3
	:: d_step { IS(waitExec) && show(3) }
#endif
	:: d_step { IS(waitExec) && !unknown[i] ->
		if
#ifndef NO_WAIT
		:: younger[i] -> sup[i] = waitYounger
#endif
		:: else -> looked[i] = 1; younger[i] = 0; FIRSTAGAIN(i); sup[i] = CLEAR
		fi }
#define withdrawn(j) ((younger[i] & (1 << j)) && !ANNOUNCED(j) && !FORKED(j))
#define pass(j)   withdrawn(j) -> younger[i] = younger[i] & ~(1 << j)
#if STOPS && !defined(NO_WAKE)
#define drowsy(j) ((younger[i] & (1 << j)) && stopped[j] && !ALIVE(watch[j]))
	:: d_step { IS(waitYounger) && ANY(drowsy) ->
		if :: drowsy(0) -> wake(0) :: else fi;
		if :: drowsy(1) -> wake(1) :: else fi;
		if :: drowsy(2) -> wake(2) :: else fi;
#if TICKS == 3
		if :: drowsy(3) -> wake(3) :: else fi
#endif
	}
#endif
	:: d_step { IS(waitYounger) && pass(0) }
	:: d_step { IS(waitYounger) && pass(1) }
	:: d_step { IS(waitYounger) && pass(2) }
#if TICKS == 3
	:: d_step { IS(waitYounger) && pass(3) }
#endif
	:: d_step { IS(waitYounger) && !younger[i] ->
		again[i] = 1;
#ifdef NO_AGAIN
		looked[i] = 1; sup[i] = CLEAR
#else
		sup[i] = census
#endif
		}
	:: d_step { IS(fork) && !due[i] ->
		wrk[i] = forked; rw[i] = rn[i]; rwHeld[i] = rnHeld[i];
#ifdef WITHDRAW_FIRST
		announced[i] = 0;
#endif
		sup[i] = inFork }
	/* vfork returns when the child has done its execve, or is dead */
	:: d_step { IS(inFork) && wrk[i] != forked -> watch[i] = i+1;
#ifdef WITHDRAW_AT_EXEC
		announced[i] = 0;
#endif
		sup[i] = record }
	:: d_step { IS(record) && !due[i] -> writeRecord(rn[i], i, i+1); sup[i] = withdraw }
	:: d_step { IS(withdraw) -> announced[i] = 0; beside[i] = 0; forgetCensus(i); sup[i] = watching }

	:: d_step { IS(watching) && !ALIVE(watch[i]) -> sup[i] = vacate }
#if RELOADS
	:: d_step { IS(watching) && watch[i] == i+1 && ALIVE(watch[i]) && reloads < RELOADS && !over ->
		reloads++; beside[i] = 1; sup[i] = reload }
	:: d_step { IS(reload) -> announced[i] = 1; again[i] = 0; sup[i] = REVERIFY }
	:: d_step { IS(forkBeside) && !due[i] ->
		wrk[i] = forked; wiped[i] = 0; rw[i] = rn[i]; rwHeld[i] = rnHeld[i]; forget(); sup[i] = inFork }
#endif
	:: atomic { IS(vacate) && !due[i] -> d_step { writeRecord(rn[i], i, 0); watch[i] = 0 }
		if
#if RESPAWNS
		:: respawns < RESPAWNS && !over -> respawns++; sup[i] = LAUNCH
#endif
		:: sup[i] = abandon
		fi }
	:: d_step { IS(standDown) -> announced[i] = 0; forgetCensus(i); sup[i] = abandon }
	:: d_step { IS(abandon) && !due[i] -> keeps[i] = 0; sup[i] = releaseRun }
	:: d_step { IS(releaseRun) ->
		if :: rw[i] == rn[i] -> rwHeld[i] = 0 :: else fi;
		rn[i] = 0; rnHeld[i] = 0; forget(); sup[i] = releaseLock }
	:: d_step { IS(releaseLock) -> endSupervisor(i) }

	/* meanwhile: removed files are put back */
	:: d_step { canLock(i) -> lockThere = 1; lk[i] = 1; replaced[i] = 1 }
	:: d_step { canRun(i) -> runThere = 1; rn[i] = 1; rnHeld[i] = 1; due[i] = 1; replaced[i] = 1; forget() }
	:: d_step { due[i] && RUNS(i) -> writeRecord(rn[i], i, watch[i]); due[i] = 0 }
	od
}

/* With BOTH a worker may have neither marker nor descriptor. Then the record at
 * the path names it, and stays, because no guard survives the loss of all evidence. */
#ifdef NO_RECORD
#define recorded(j) (sup[j] == watching && watch[j] == j+1)
#else
#define recorded(j) (recWrk[1] == j+1)
#endif
#ifdef BOTH
#define MAYHIDE(other) (hides < HIDES && !over && ((other) || recorded(i)))
#else
#define MAYHIDE(other) (hides < HIDES && !over && (other))
#endif
#define bare(j)  (wrk[j] == command && wiped[j] && !rw[j])

active [N+1] proctype Worker() {
	byte i = _pid - (N+1);
end:	do
	:: d_step { wrk[i] == forked -> wrk[i] = execve }
	:: d_step { wrk[i] == execve -> wrk[i] = command;
		assert(COMMANDS < 2)	/* never two */
		}
#if HIDES
	:: d_step { wrk[i] == command && !wiped[i] && MAYHIDE(rw[i]) -> hides++; wiped[i] = 1 }
	:: d_step { wrk[i] == command && rw[i] && MAYHIDE(!wiped[i]) -> hides++; rw[i] = 0; rwHeld[i] = 0; forget() }
#endif
	od
}

#define kill_(j) UP(j) && kills < KILLS && !over -> kills++; endSupervisor(j)
#define die_(j)  wrk[j] != none && deaths < DEATHS && !over -> deaths++; endWorker(j)
#define stop_(j) UP(j) && !stopped[j] && stops < STOPS && !over -> stops++; stopped[j] = 1
#define cont_(j) stopped[j] && !over -> stopped[j] = 0
#ifdef QUIET
#define starts(j) (UP(j) && sup[j] != watching)
#define REMOVE   removals < REMOVALS && !over && !ANY(starts)
#else
#define REMOVE   removals < REMOVALS && !over
#endif
#define heldLock(j) lkHeld[j]

active proctype Faults() {
end:	do
#ifndef NO_LOCK
#ifdef UNHELD
	:: d_step { REMOVE && lockThere && !ANY(heldLock) -> removals++; removeLock() }
#else
	:: d_step { REMOVE && lockThere -> removals++; removeLock() }
#endif
#endif
#ifndef NO_RUN_LOCK
	:: d_step { REMOVE && runThere && !ANY(bare) -> removals++; removeRun() }
#ifndef NO_LOCK
	:: d_step { REMOVE && lockThere && runThere && !ANY(bare) -> removals++; removeLock(); removeRun() }
#endif
#if DAMAGES
	:: d_step { damages < DAMAGES && !over && runThere && recSup[1] && !ANY(bare) ->
		damages++; recSup[1] = 0; recWrk[1] = 0 }
#endif
#endif
	:: d_step { kill_(0) }
	:: d_step { kill_(1) }
	:: d_step { die_(0) }
	:: d_step { die_(1) }
#if STOPS
	:: d_step { stop_(0) }
	:: d_step { stop_(1) }
	:: d_step { cont_(0) }
	:: d_step { cont_(1) }
#endif
#if TICKS == 3
	:: d_step { kill_(2) }
	:: d_step { die_(2) }
#if STOPS
	:: d_step { stop_(2) }
	:: d_step { cont_(2) }
#endif
#endif
	od
}

#define rests(j) ((sup[j] == ended || sup[j] == cron && j == LAST && !over || !RUNS(j) || \
	sup[j] == watching && ALIVE(watch[j]) && !canLock(j) && !canRun(j) && !due[j]) && \
	(wrk[j] == none || wrk[j] == command))

active proctype Judge() {
	byte i = 255;
	d_step { ALL(rests) ->
		assert(removals || kills || deaths || damages
#if STOPS
			|| stops
#endif
			|| COMMANDS);	/* not all stand down */
#if STOPS
		stops = 0; woke = 0;
#endif
		over = 1; removals = 0; kills = 0; deaths = 0; damages = 0; hides = 0; respawns = 0; reloads = 0 }
#if STOPS
	d_step { ALL(rests) ->	/* a stopped supervisor may have to give the name back first */
		if :: woke && COMMANDS == 0 && sup[LAST] == ended -> sup[LAST] = cron :: else fi }
#endif
	d_step { ALL(rests) ->
		assert(COMMANDS > 0) }	/* never none */
}
