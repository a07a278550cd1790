/*
 * The guard's algorithm: three ticks of one name start whenever they like,
 * while files are removed and processes are killed at any step. Checked for
 * every interleaving by guard_test.go; README.md says how to read a trail.
 *
 * Promises:
 *   never two     at execve: no other command of the name lives
 *   never none    when everything has come to rest, one more tick runs
 *                 undisturbed: after it exactly one command lives
 *   not all yield when everything has come to rest and there was no fault
 *                 (ALL_YIELD: only files were removed), exactly one lives
 *   no deadlock   everything comes to rest
 *
 * Steps, and where the code has them. Each is one atomic step here.
 *   supervisor
 *   openLock      lockPath: flock.New and the open in TryLock    lockfile.go
 *   tryLock       takeLock: TryLock; busy: HeldError             guard.go
 *   checkFile     lockPath: is it still what the path names?     lockfile.go
 *   openRun       won: openRun                                   guard.go
 *   flockNow      settleRecord: flockNow                         guard.go
 *   readRecord    settleRecord: readRecord, Alive                guard.go
 *   findOrphan    won: findOrphan                                guard.go
 *   renewRun      won: renewRun                                  guard.go
 *   adopt         orphaned: SetWorker(orphan)                    guard.go
 *   noWorker      won: SetWorker(none)                           guard.go
 *   note          Place, Note: Intact?                           supervised.go
 *   start         launch: fork                                   supervise/start.go
 *   setWorker     start: SetWorker(worker)                       supervise/start.go
 *   onStarted     onStarted: what the stub has said              supervise/start.go
 *   yielded       Yielded: SetWorker(none, or the orphan)        supervised.go
 *   watching      onExit: the worker has ended                   supervise/worker.go
 *   vacate        ended: SetWorker(none)                         supervise/loop.go
 *   abandon       abandon: no more putting back                  keep.go
 *   releaseRun    Release: LOCK_UN and close                     hold.go
 *   releaseLock   Release: close, and exit                       hold.go
 *   beside it, in its own goroutine
 *   putBack       putBack, remake: K.lock                        keep.go
 *                 remake: K.run, then the record                 keep.go
 *   stub
 *   forked        between fork and execve: shows no marker
 *   or, without one
 *   direct        become: begin, which is getppid                child/direct_child_linux.go
 *   tell          tell: the record                               child/direct_child_linux.go
 *   place         check: inPlace                                 child/direct_child_linux.go
 *   then          parentCheck, execve
 *   announce      Settle: announce, the record                   settle.go
 *   look          look: marked, one process after another        settle.go
 *   decide        look: LockHolders, the cases, Children         settle.go
 *   wait          look: the millisecond until the next look      settle.go
 *   parentCheck   Settle: Getppid                                settle.go
 *   execve        RunStub: Exec                                  child/stub.go
 *   command       the worker
 *
 * Who is older is the slot's number, and has nothing to do with who starts
 * first: that is more than start times and pids allow. settleRecord's second
 * may be over at once. look's three seconds are over when all it waits for
 * wait themselves and have nothing new to see: any other stub is expected to
 * move within that time.
 *
 * Left out: SIGSTOP, damaged records, workers without a marker (the note
 * "search"), several uids, pids used again, leftovers, --exec, --wait,
 * --replace, reload.
 *
 * Parts to take out, one at a time or several:
 *   NO_LOCK NO_RUN_LOCK NO_SCAN     as the tag proof has them (seam_proof.go)
 *   NO_INODE_CHECK NO_RECORD NO_PUTBACK NO_ANNOUNCE NO_TIEBREAK NO_WAIT
 *   NO_PARENT_CHECK NO_SETTLED NO_PLACE
 *   YIELD_BOTH                      whoever sees another gives up
 * and what else can happen:
 *   REMOVALS KILLS DEATHS RESPAWNS  how many at most
 *   CLOSEFROM                       a worker may close its copy of K.run
 *   UNHELD                          files are removed only while nobody holds K.lock
 *   QUIET                           ticks begin only when all has been put back
 *   PROMPT                          nobody may have to wait for the three seconds
 *   LATE                            a stub whose supervisor was killed may stand
 *                                   still for longer than the three seconds
 */
#ifndef REMOVALS
#define REMOVALS 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef RESPAWNS
#define RESPAWNS 0
#endif

#define N     3		/* ticks */
#define LAST  N		/* and the one that comes after all faults */
#define FILES 8

mtype = {
	cron, openLock, tryLock, checkFile, openRun, flockNow, readRecord, findOrphan, renewRun, adopt, noWorker,
	note, start, setWorker, onStarted, yielded, watching, vacate, abandon, releaseRun, releaseLock, ended,
	none, forked, direct, tell, place, announce, look, decide, wait, parentCheck, execve, command
}

/* Slot i has a supervisor and a worker, which is written i+1 where 0 means none. */
mtype sup[N+1] = cron;
mtype wrk[N+1] = none;

/* What a worker's environment shows. */
#define NOTHING 0
#define STUB    1
#define PRIMARY 2
byte shows[N+1];

/* Files. The one that the path names is 1; one that was removed and that
 * somebody still has open gets another number. A flock belongs to an open file
 * description: a worker's copy of K.run is its supervisor's while both have
 * the same file. */
bit  lockThere, runThere;		/* the path names a file */
byte lk[N+1];  bit lkHeld[N+1];		/* supervisor: K.lock open, locked */
byte rn[N+1];  bit rnHeld[N+1];		/* supervisor: K.run */
byte rw[N+1];  bit rwHeld[N+1];		/* worker: K.run, inherited */
byte recSup[FILES], recWrk[FILES];	/* the record in each K.run */

bit  keeps[N+1];			/* supervisor: Keep runs */
bit  due[N+1];				/* putBack has h.mu and hasn't written the record yet */
byte watch[N+1];			/* the worker it watches */
bit  said[N+1], orphan[N+1]; byte to[N+1];	/* the status pipe: Yield */
byte at[N+1], stubs[N+1], prim[N+1];	/* stub: where look is, and what it has seen */
#if RESPAWNS
bit  replaced[N+1];
bit  vouch[N+1];			/* no stub is needed */
bit  looked[N+1];			/* a stub of this supervisor has looked, and no other supervisor was there */
byte respawns;
#endif
byte removals, kills, deaths;
bit  over;				/* no more faults */
hidden byte x, y;

#define ANY(p)     (p(0) || p(1) || p(2) || p(3))
#define UP(j)      (sup[j] != ended)
#define ALIVE(w)   (w && wrk[w-1] != none)
#define is_cmd(j)  (wrk[j] == command)
#define COMMANDS   (is_cmd(0) + is_cmd(1) + is_cmd(2) + is_cmd(3))

#define locks(j)   (lkHeld[j] && lk[j] == x)
#define locksRun(j) (rnHeld[j] && rn[j] == x || rwHeld[j] && rw[j] == x)
#define hasLock(j) (lk[j] == x)
#define hasRun(j)  (rn[j] == x || rw[j] == x)
#define lock1(j)   (lkHeld[j] && lk[j] == 1)
#define run1(j)    (rnHeld[j] && rn[j] == 1 || rwHeld[j] && rw[j] == 1)

#define move(f, j) if :: f[j] == 1 -> f[j] = x :: else fi
inline removeLock() {
	x = 2;
	do :: ANY(hasLock) -> x++ :: else -> break od;
	move(lk, 0); move(lk, 1); move(lk, 2); move(lk, 3);
	lockThere = 0; x = 0
}
inline removeRun() {
	x = 2;
	do :: ANY(hasRun) -> x++ :: else -> break od;
	assert(x < FILES);
	recSup[x] = recSup[1]; recWrk[x] = recWrk[1]; recSup[1] = 0; recWrk[1] = 0;
	move(rn, 0); move(rn, 1); move(rn, 2); move(rn, 3);
	move(rw, 0); move(rw, 1); move(rw, 2); move(rw, 3);
	runThere = 0; forget()
}
/* A file that is gone and that nobody has open is no more. */
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
inline writeRecord(f, s, w) { if :: f -> recSup[f] = s+1; recWrk[f] = w :: else fi }

/* The end of a process, by its own will or not: all it has open is closed. */
inline endSupervisor(j) {
	sup[j] = ended; lk[j] = 0; lkHeld[j] = 0; rn[j] = 0; rnHeld[j] = 0; keeps[j] = 0; due[j] = 0;
	watch[j] = 0; said[j] = 0; to[j] = 0; orphan[j] = 0;
#if RESPAWNS
	replaced[j] = 0; looked[j] = 0;
#endif
	forget()
}
inline endWorker(j) {
	wrk[j] = none; shows[j] = NOTHING; rw[j] = 0; rwHeld[j] = 0; at[j] = 0; stubs[j] = 0; prim[j] = 0;
#if RESPAWNS
	vouch[j] = 0;
#endif
	forget()
}

/* Keep: what isn't in place any more, and can be put back now. */
#ifdef NO_LOCK
#define lockOK(j) 1
#else
#define lockOK(j) (lk[j] == 1)
#endif
#ifdef NO_RUN_LOCK
#define runOK(j)  1
#else
#define runOK(j)  (rn[j] == 1)
#endif
#ifdef NO_PUTBACK
#define keeping(j) 0
#else
#define keeping(j) (keeps[j] && !due[j])
#endif
#define canLock(j) (keeping(j) && !lockOK(j) && !ANY(lock1))
#define canRun(j)  (keeping(j) && lockOK(j) && !runOK(j) && !ANY(run1))

#ifdef QUIET
#define missing(j) (keeping(j) && !(lockOK(j) && runOK(j)))
#define BEGIN (!ANY(missing))
#else
#define BEGIN true
#endif

#ifdef NO_RUN_LOCK
#define WON start
#else
#define WON openRun
#endif

/* l.settled: a stub that was killed before it had looked proves nothing. */
#ifdef NO_SETTLED
#define settled(j) 1
#else
#define settled(j) looked[j]
#endif

/* It waits, as after vfork, for a worker that needs no stub. */
#if RESPAWNS
#define beginning(j) vouch[j]
#else
#define beginning(j) 0
#endif

active [N+1] proctype Supervisor() {
	byte i = _pid;
end:	do
	:: d_step { sup[i] == cron && (i != LAST || over) && BEGIN ->
#ifdef NO_LOCK
		sup[i] = WON }
#else
		lockThere = 1; lk[i] = 1; sup[i] = tryLock }
	:: d_step { sup[i] == openLock -> lockThere = 1; lk[i] = 1; sup[i] = tryLock }
	:: d_step { sup[i] == tryLock -> x = lk[i];
		if
		:: ANY(locks) -> endSupervisor(i)
		:: else -> lkHeld[i] = 1; sup[i] = checkFile
		fi;
		x = 0 }
	:: d_step { sup[i] == checkFile ->
		if
#ifndef NO_INODE_CHECK
		:: lk[i] != 1 -> lk[i] = 0; lkHeld[i] = 0; sup[i] = openLock
#endif
		:: else -> sup[i] = WON
		fi }
#endif

#ifndef NO_RUN_LOCK
	:: d_step { sup[i] == openRun -> runThere = 1; rn[i] = 1; sup[i] = flockNow }
	:: d_step { sup[i] == flockNow -> x = rn[i];
		if :: !ANY(locksRun) -> rnHeld[i] = 1 :: else fi;
		x = 0; sup[i] = readRecord }
	:: atomic { sup[i] == readRecord ->
		x = recWrk[rn[i]]; y = recSup[rn[i]];
		if
		:: !rnHeld[i] && !x -> sup[i] = flockNow	/* poll */
		:: !rnHeld[i] && !x -> sup[i] = findOrphan	/* the second is over */
		:: ALIVE(x) && y != i+1 && sup[y-1] != ended -> d_step { endSupervisor(i) }
		:: ALIVE(x) && !(y != i+1 && sup[y-1] != ended) -> watch[i] = x; sup[i] = adopt
		:: x && !ALIVE(x) && !rnHeld[i] -> sup[i] = findOrphan
		:: !ALIVE(x) && rnHeld[i] -> sup[i] = noWorker
		fi;
		x = 0; y = 0 }
	:: d_step { sup[i] == findOrphan ->
		if
		:: shows[0] == PRIMARY -> watch[i] = 1; sup[i] = adopt
		:: shows[1] == PRIMARY -> watch[i] = 2; sup[i] = adopt
		:: shows[2] == PRIMARY -> watch[i] = 3; sup[i] = adopt
		:: else -> sup[i] = renewRun
		fi }
	:: d_step { sup[i] == renewRun -> removeRun(); runThere = 1; rn[i] = 1; rnHeld[i] = 1; forget(); sup[i] = noWorker }
	:: d_step { sup[i] == adopt -> writeRecord(rn[i], i, watch[i]); keeps[i] = 1; sup[i] = watching }
	:: d_step { sup[i] == noWorker -> writeRecord(rn[i], i, 0); keeps[i] = 1; sup[i] = start }
#endif

#if RESPAWNS
	:: d_step { sup[i] == note -> vouch[i] = !replaced[i] && lockOK(i) && runOK(i) && settled(i); sup[i] = start }
#endif
	:: d_step { sup[i] == start && !due[i] -> keeps[i] = 1;
		wrk[i] = forked; rw[i] = rn[i]; rwHeld[i] = rnHeld[i]; watch[i] = i+1; sup[i] = setWorker;
#if RESPAWNS
		/* it shares the supervisor's memory, which shows the marker */
		if :: vouch[i] -> wrk[i] = direct; shows[i] = STUB :: else fi
#endif
		}
	:: d_step { sup[i] == setWorker && !due[i] && !beginning(i) -> writeRecord(rn[i], i, i+1); sup[i] = onStarted }
	:: d_step { sup[i] == onStarted && said[i] ->
		watch[i] = (orphan[i] -> to[i] : 0); said[i] = 0; to[i] = 0; orphan[i] = 0; sup[i] = yielded }
	:: d_step { sup[i] == onStarted && !said[i] && (wrk[i] == none || wrk[i] == command) -> sup[i] = watching }
	:: d_step { sup[i] == yielded && !due[i] -> writeRecord(rn[i], i, watch[i]);
		if :: watch[i] -> sup[i] = watching :: else -> sup[i] = abandon fi }
	:: d_step { sup[i] == watching && !ALIVE(watch[i]) -> sup[i] = vacate }
	:: atomic { sup[i] == vacate && !due[i] -> d_step { writeRecord(rn[i], i, 0) }
		if
#if RESPAWNS
		:: watch[i] == i+1 && respawns < RESPAWNS -> respawns++; sup[i] = note
#endif
		:: sup[i] = abandon
		fi;
		watch[i] = 0 }
	:: d_step { sup[i] == abandon && !due[i] -> keeps[i] = 0; sup[i] = releaseRun }
	:: d_step { sup[i] == releaseRun ->
		if :: rw[i] == rn[i] -> rwHeld[i] = 0 :: else fi;
		rn[i] = 0; rnHeld[i] = 0; forget(); sup[i] = releaseLock }
	:: d_step { sup[i] == releaseLock -> endSupervisor(i) }

	/* putBack */
#if RESPAWNS
	:: d_step { keeping(i) && !replaced[i] && !(lockOK(i) && runOK(i)) -> replaced[i] = 1 }
#endif
	:: d_step { canLock(i) -> lockThere = 1; lk[i] = 1
#if RESPAWNS
		; replaced[i] = 1
#endif
		}
	:: d_step { canRun(i) -> runThere = 1; rn[i] = 1; rnHeld[i] = 1; due[i] = 1;
#if RESPAWNS
		replaced[i] = 1;
		if :: sup[i] == start -> vouch[i] = 0 :: else fi;	/* it isn't the K.run that was noted */
#endif
		forget() }
	:: d_step { due[i] -> writeRecord(rn[i], i, watch[i]); due[i] = 0 }
	od
}

/* Another supervisor that holds a K.lock, in place or not, and its child that
 * stub s hasn't seen as a stub: "a worker that has overwritten its environment". */
#define other(s, j) (j != s && UP(j) && lkHeld[j])
#define child(s, j) (other(s, j) && wrk[j] != none && !(stubs[s] & (1 << j)))
#define CHILDREN(s) (child(s, 0) || child(s, 1) || child(s, 2))
#define OTHERS(s)   (other(s, 0) || other(s, 1) || other(s, 2))

/* Whether another look would show something new. */
#define now(s, j)   ((j != s && shows[j] == STUB) << j)
#define NEWS(s)     (!stubs[s] || stubs[s] != (now(s, 0) | now(s, 1) | now(s, 2)) || COMMANDS || CHILDREN(s))
#ifdef LATE
#define late(j)     (!UP(j) && wrk[j] != execve)
#else
#define late(j)     0
#endif
#define moving(j)   ((stubs[i] & (1 << j)) && !late(j) && (wrk[j] != wait || NEWS(j)))

#ifdef YIELD_BOTH
#define yieldsTo(j) (stubs[i] & (1 << j))
#else
#ifdef NO_TIEBREAK
#define yieldsTo(j) 0
#else
#define yieldsTo(j) ((stubs[i] & (1 << j)) && j < i && UP(j))	/* older, and not doomed */
#endif
#endif
#define yieldsToChild(j) child(i, j)

#if RESPAWNS
#define LOOKED if :: UP(i) && !OTHERS(i) -> looked[i] = 1 :: else fi
#else
#define LOOKED skip
#endif

inline yield(w, o) {
	if :: UP(i) -> said[i] = 1; to[i] = w; orphan[i] = o :: else fi;
	endWorker(i)
}

active [N+1] proctype Stub() {
	byte i = _pid - (N+1);
end:	do
	:: d_step { wrk[i] == forked ->
#ifndef NO_ANNOUNCE
		shows[i] = STUB;
#endif
		wrk[i] = announce }
	:: d_step { wrk[i] == announce ->
#ifndef NO_RECORD
		writeRecord(rw[i], i, i+1);
#endif
#ifdef NO_SCAN
		wrk[i] = parentCheck }
#else
		wrk[i] = look }
#endif
#if RESPAWNS
	/* without a stub: it writes itself into the record, then looks whether K.run
	 * is in its place still; if not, it is started with a stub, which is this one
	 * from here on */
	:: d_step { wrk[i] == direct -> if :: UP(i) -> wrk[i] = tell :: else -> endWorker(i) fi }
	:: d_step { wrk[i] == tell -> writeRecord(rw[i], i, i+1); wrk[i] = place }
	:: d_step { wrk[i] == place ->
		if
#ifndef NO_PLACE
		:: rw[i] != 1 -> vouch[i] = 0; wrk[i] = look
#endif
		:: else -> wrk[i] = parentCheck
		fi }
#endif
	:: d_step { wrk[i] == look ->
		if :: at[i] == i -> at[i] = at[i] + 1 :: else fi;
		if
		:: at[i] < N && shows[at[i]] == STUB -> stubs[i] = stubs[i] | (1 << at[i])
		:: at[i] < N && shows[at[i]] == PRIMARY -> prim[i] = at[i] + 1
		:: else
		fi;
		at[i] = at[i] + 1;
		if :: at[i] == i -> at[i] = at[i] + 1 :: else fi;
		if :: at[i] >= N -> at[i] = 0; wrk[i] = decide :: else fi }
	:: d_step { wrk[i] == decide -> y = 0;
		do
		:: y < N && !prim[i] && !yieldsTo(y) && !yieldsToChild(y) -> y++
		:: else -> break
		od;
		if
		:: prim[i] -> yield(prim[i], !UP(prim[i]-1) && !OTHERS(i))
		:: !prim[i] && y < N -> yield(y+1, 0)
		:: else ->
			if
#if !defined(NO_WAIT) && !defined(NO_TIEBREAK)
			:: stubs[i] -> wrk[i] = wait
#endif
			:: else -> stubs[i] = 0; LOOKED; wrk[i] = parentCheck
			fi
		fi;
		y = 0 }
	:: d_step { wrk[i] == wait && NEWS(i) -> stubs[i] = 0; wrk[i] = look }
	:: d_step { wrk[i] == wait && !NEWS(i) && !ANY(moving) ->	/* the three seconds are over */
#ifdef PROMPT
		assert(false);
#endif
		stubs[i] = 0; LOOKED; wrk[i] = parentCheck }
	:: d_step { wrk[i] == parentCheck ->
		shows[i] = STUB;
		if
#ifndef NO_PARENT_CHECK
		:: !UP(i) -> endWorker(i)
#endif
		:: else -> wrk[i] = execve
		fi }
	:: atomic { wrk[i] == execve -> shows[i] = PRIMARY; wrk[i] = command;
#if RESPAWNS
		vouch[i] = 0;
#endif
		assert(COMMANDS == 1);	/* never two */
#ifdef CLOSEFROM
		if :: true :: d_step { rw[i] = 0; rwHeld[i] = 0; forget() } fi
#endif
		}
	od
}

#define kill_(j) sup[j] != cron && UP(j) && kills < KILLS && !over -> kills++; endSupervisor(j)
/* PDEATHSIG may come at any time, or never. */
#define die_(j)  wrk[j] != none && (!UP(j) || deaths < DEATHS) && !over -> if :: UP(j) -> deaths++ :: else fi; endWorker(j)
#ifdef QUIET
#define busy(j)  (sup[j] != cron && UP(j) && !keeps[j])
#define REMOVE   removals < REMOVALS && !over && !ANY(busy)
#else
#define REMOVE   removals < REMOVALS && !over
#endif

active proctype Faults() {
end:	do
#ifdef UNHELD
	:: d_step { REMOVE && lockThere && !(lkHeld[0] || lkHeld[1] || lkHeld[2]) -> removals++; removeLock(); removeRun() }
#else
#ifndef NO_LOCK
	:: d_step { REMOVE && lockThere -> removals++; removeLock() }
#endif
#ifndef NO_RUN_LOCK
	:: d_step { REMOVE && runThere -> removals++; removeRun() }
#ifndef NO_LOCK
	:: d_step { REMOVE && lockThere && runThere -> removals++; removeLock(); removeRun() }
#endif
#endif
#endif
	:: d_step { kill_(0) }
	:: d_step { kill_(1) }
	:: d_step { kill_(2) }
#if KILLS || DEATHS
	:: d_step { die_(0) }
	:: d_step { die_(1) }
	:: d_step { die_(2) }
#endif
	od
}

#define rests(j) ((sup[j] == ended || sup[j] == watching && ALIVE(watch[j]) && !canLock(j) && !canRun(j) && !due[j]) && \
                  (wrk[j] == none || wrk[j] == command))

active proctype Judge() {
	d_step { rests(0) && rests(1) && rests(2) ->
#ifdef ALL_YIELD
		assert(kills || deaths || COMMANDS == 1);
#else
		assert(removals || kills || deaths || COMMANDS == 1);	/* not all yield */
#endif
		over = 1; removals = 0; kills = 0; deaths = 0 }
	d_step { rests(0) && rests(1) && rests(2) && rests(3) ->
		assert(COMMANDS == 1) }	/* never none */
}
