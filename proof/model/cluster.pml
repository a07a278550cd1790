/*
 * The cluster's lease rules: two nodes, an engine, and a network that loses and
 * delays messages. cluster_test.go checks every order of the steps.
 *
 * Promise: two workers never run at once. A worker on a suspended node doesn't
 * run. As a rule the worker is a whole tree, which outlives lifeline, so at least
 * one guard must be left to end it. With PROCESS the worker is a single process,
 * and both guards may be out: the kernel ends the worker together with lifeline,
 * and lifeline at the deadline. With BEYOND both guards may be out, and the worker
 * runs on. The promise is then that a resource which refuses a lower fence takes
 * nothing from that worker after its successor's first word.
 *
 * Time goes in steps. It waits only for a running guard: a worker is dead KILLING
 * steps after its guards have begun to kill it. Everything else may take any time.
 * The clocks of the engine and the nodes go equally fast, and may show different
 * times.
 *
 * Steps, one line of the loop each:
 *   acquire, renew, release   lifeline-remote notes the time and sends a request
 *   engine                    a request reaches the engine, however late
 *   give up                   lifeline-remote stops waiting for the answer; the
 *                             request may still be on its way (ghost)
 *   answer                    the answer comes
 *   start                     lifeline starts the worker
 *   kill                      either guard, at the deadline less the margin
 *   kill timer                the kernel kills a lifeline that is stopped
 *   hand-over, end            the worker is ended, or ends
 *   faults                    each guard is stopped, goes on, is killed, is
 *                             started again; a node is suspended and wakes up
 *
 * Rules to take out, one at a time (the design's numbers):
 *   FROM_ANSWER     1 the deadline counts from the answer, not from the request
 *   UNCONFIRMED     1 a renewal moves the deadline before it is confirmed
 *   MONOTONIC       1 the clock stands still while the node is suspended
 *   MARGIN=1        2 the margin is no longer than a kill takes
 *   NO_LOOK         3 the deadline isn't looked at again before the start
 *   PLAIN_PUT       4 a renewal writes whatever is there
 *   PLAIN_DELETE    4 a release deletes whatever is there
 *   EARLY_RELEASE   4 released before the worker has ended
 *   ONE_GUARD         lifeline alone watches the deadline
 *   NO_KILLTIMER           lifeline has no timer of the kernel's (with PROCESS)
 *   NO_PDEATH         the worker outlives lifeline (with PROCESS)
 *   NO_FENCE        5 the resource takes any fence (with BEYOND)
 *   REACHED           no rule, but a control: it fails when a successor starts,
 *                     which shows that successors start
 */
#ifndef TTL
#define TTL 3
#endif
#ifndef MARGIN
#define MARGIN 2
#endif
#ifndef HORIZON
#define HORIZON 8
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef GRANTS
#define GRANTS 3            /* how many there are in all */
#endif
#define KILLING 1

#define RUNS 0
#define STOPPED 1
#define DEAD 2

#define NOTHING 0
#define ACQUIRE 1
#define RENEW 2
#define RELEASE 3

#define NO_ANSWER 0
#define YES 1
#define NO 2

typedef Node {
	byte lifeline, remote;  /* the guards */
	bit worker, held, asleep;
	byte fence;             /* of the grant */
	byte own;               /* of the worker */
	byte deadline;
	byte lag;               /* how long the node was suspended */
	byte asked, sent, answer, granted;
	byte ghost, ghostfence; /* a request that was given up */
};

Node n[2];
byte now = 1;
byte holder = 2;            /* 2: none */
byte expires, fence;        /* of the engine */
byte faults = FAULTS;
byte what, which, verdict;  /* of the request that arrives */
byte seen;                  /* the resource's highest fence */

#ifdef MONOTONIC
#define CLOCK(i) (now - n[i].lag)
#else
#define CLOCK(i) now
#endif

#define LATE(i) (CLOCK(i) + MARGIN >= n[i].deadline)
#ifdef PROCESS
#ifndef NO_KILLTIMER
#define KILLTIMER(i) (n[i].lifeline == STOPPED)
#endif
#endif
#ifndef KILLTIMER
#define KILLTIMER(i) false
#endif
#ifdef PROCESS
#ifndef NO_PDEATH
#define FOLLOWS(i) ended(i)
#endif
#endif
#ifndef FOLLOWS
#define FOLLOWS(i) skip
#endif
#ifdef ONE_GUARD
#define GUARDED(i) (n[i].lifeline == RUNS)
#else
#define GUARDED(i) (n[i].lifeline == RUNS || n[i].remote == RUNS)
#endif
#define AWAKE(i) (!n[i].asleep)
#define SPEAKS(i) (AWAKE(i) && n[i].remote == RUNS)
/* Time waits: a guard that runs kills before the next step of time. */
#define HURRY(i) (n[i].worker && AWAKE(i) && (GUARDED(i) || KILLTIMER(i)) && CLOCK(i) + MARGIN >= n[i].deadline + KILLING)
#ifdef UNCONFIRMED
#define HOPE(i) n[i].deadline = CLOCK(i) + TTL
#else
#define HOPE(i) skip
#endif
#ifdef FROM_ANSWER
#define COUNTED(i) CLOCK(i)
#else
#define COUNTED(i) n[i].sent
#endif
#ifdef NO_LOOK
#define INTIME(i) true
#else
#define INTIME(i) (!LATE(i))
#endif
#ifdef REACHED
#define FIRST(i) assert(n[i].own < 2)
#else
#define FIRST(i) skip
#endif
#ifdef EARLY_RELEASE
#define EMPTY(i) (n[i].lifeline == RUNS)
#else
#define EMPTY(i) (!n[i].worker)
#endif
#ifdef PLAIN_PUT
#define PUT true
#else
#define PUT false
#endif
#ifdef PLAIN_DELETE
#define DELETE true
#else
#define DELETE false
#endif
#ifdef NO_FENCE
#define ANY true
#else
#define ANY false
#endif
#ifdef BEYOND
#define ALLOWED true
#else
#define ALLOWED false
#endif
/* One guard may be out while a worker lives. */
#ifdef BEYOND
#define SPARE(i, other) (faults > 0)
#endif
#ifdef PROCESS
#define SPARE(i, other) (faults > 0)
#endif
#ifndef SPARE
#define SPARE(i, other) (faults > 0 && (!n[i].worker || n[i].other == RUNS))
#endif

inline expire() {
	if
	:: holder != 2 && now >= expires -> holder = 2; expires = 0
	:: else
	fi
}

/* Values without a meaning are reset, or Spin would count one state twice. */
inline tidy(i) {
	if
	:: !n[i].held && !n[i].worker ->
		n[i].deadline = 0;
		if
		:: n[i].asked == NOTHING || n[i].asked == ACQUIRE -> n[i].fence = 0
		:: else
		fi
	:: else
	fi
}

/* What the request "what", which names the fence "which", does when it arrives. */
inline arrive(i) {
	verdict = NO;
	if
	:: what == ACQUIRE && holder == 2 && fence < GRANTS ->
		holder = i; expires = now + TTL; fence++; verdict = YES
	:: what == RENEW && (PUT || holder == i && fence == which) -> holder = i; expires = now + TTL; verdict = YES
	:: what == RELEASE && (DELETE || holder == i && fence == which) -> holder = 2; expires = 0
	:: else
	fi
}

inline ask(i, what) {
	n[i].asked = what; n[i].sent = CLOCK(i); n[i].answer = NO_ANSWER
}

inline forget(i) {
	n[i].asked = NOTHING; n[i].sent = 0; n[i].answer = NO_ANSWER; n[i].granted = 0
}

inline ended(i) { n[i].worker = 0; n[i].own = 0 }

inline check() { assert(ALLOWED || !(n[0].worker && AWAKE(0) && n[1].worker && AWAKE(1))) }

inline step(i) {
	if
	/* acquire: no worker of this node lives */
	:: SPEAKS(i) && n[i].asked == NOTHING && !n[i].held && !n[i].worker -> ask(i, ACQUIRE)
	/* renew */
	:: SPEAKS(i) && n[i].asked == NOTHING && n[i].held ->
		ask(i, RENEW); HOPE(i)
	/* release: the tree is empty */
	:: SPEAKS(i) && n[i].asked == NOTHING && n[i].held && EMPTY(i) -> ask(i, RELEASE); n[i].held = 0
	/* engine */
	:: n[i].asked != NOTHING && n[i].answer == NO_ANSWER ->
		what = n[i].asked; which = n[i].fence;
		arrive(i);
		n[i].answer = verdict;
		if
		:: n[i].asked == ACQUIRE && n[i].answer == YES -> n[i].granted = fence
		:: else
		fi
	:: n[i].ghost != NOTHING -> /* the request was given up */
		what = n[i].ghost; which = n[i].ghostfence;
		arrive(i);
		n[i].ghost = NOTHING; n[i].ghostfence = 0
	/* give up */
	:: SPEAKS(i) && n[i].asked != NOTHING ->
		if
		:: n[i].answer == NO_ANSWER -> n[i].ghost = n[i].asked; n[i].ghostfence = n[i].fence
		:: skip /* the request or its answer is lost */
		fi;
		forget(i)
	/* answer */
	:: SPEAKS(i) && n[i].answer == YES ->
		if
		:: n[i].asked == ACQUIRE || n[i].held ->
			if
			:: n[i].asked == ACQUIRE -> n[i].held = 1; n[i].fence = n[i].granted
			:: else
			fi;
			n[i].deadline = COUNTED(i) + TTL
		:: else
		fi;
		forget(i)
	:: SPEAKS(i) && n[i].answer == NO ->
		if
		:: n[i].asked == RENEW -> n[i].held = 0; ended(i)
		:: else
		fi;
		forget(i)
	/* start */
	:: AWAKE(i) && n[i].lifeline == RUNS && n[i].remote == RUNS && n[i].held && !n[i].worker && INTIME(i) ->
		n[i].worker = 1; n[i].own = n[i].fence; FIRST(i)
	/* kill */
	:: AWAKE(i) && n[i].worker && GUARDED(i) && LATE(i) -> ended(i); n[i].held = 0
	/* the kernel's timer */
	:: AWAKE(i) && n[i].worker && KILLTIMER(i) && LATE(i) -> ended(i); n[i].lifeline = DEAD
	/* lifeline is dead: lifeline-remote kills the rest of its tree */
	:: SPEAKS(i) && n[i].worker && n[i].lifeline == DEAD -> ended(i)
	/* hand-over, or its own end */
	:: AWAKE(i) && n[i].worker -> ended(i)
	/* faults */
	:: n[i].lifeline == RUNS && SPARE(i, remote) -> faults--; n[i].lifeline = STOPPED
	:: n[i].remote == RUNS && SPARE(i, lifeline) -> faults--; n[i].remote = STOPPED
	:: n[i].lifeline == RUNS && SPARE(i, remote) -> faults--; n[i].lifeline = DEAD; FOLLOWS(i)
	:: n[i].remote == RUNS && SPARE(i, lifeline) -> faults--; n[i].remote = DEAD;
		/* its request may still be on its way */
		if
		:: n[i].asked != NOTHING && n[i].answer == NO_ANSWER -> n[i].ghost = n[i].asked; n[i].ghostfence = n[i].fence
		:: else
		fi;
		forget(i)
	:: n[i].lifeline == STOPPED -> n[i].lifeline = RUNS
	:: n[i].remote == STOPPED -> n[i].remote = RUNS
	:: n[i].lifeline == DEAD && !n[i].worker -> n[i].lifeline = RUNS
	:: n[i].remote == DEAD && !n[i].worker && n[i].lifeline == RUNS -> n[i].remote = RUNS; n[i].held = 0
	:: AWAKE(i) && faults > 0 -> faults--; n[i].asleep = 1
	:: !AWAKE(i) -> n[i].asleep = 0;
		/* a guard comes first, or the fence must help */
		if
		:: n[i].worker && GUARDED(i) && LATE(i) -> ended(i); n[i].held = 0
		:: n[i].worker && KILLTIMER(i) && LATE(i) -> ended(i); n[i].lifeline = DEAD
		:: else
		fi
	fi
}

/* A worker hands its fence to the resource, which takes it or doesn't. What it
 * has taken from a successor isn't followed by anything of an older one. */
inline word(i) {
	if
	:: ANY || n[i].own >= seen -> assert(n[i].own >= seen); seen = n[i].own
	:: else
	fi
}

active proctype world() {
end:
	do
	:: atomic { now < HORIZON && !HURRY(0) && !HURRY(1) -> now++; expire();
#ifdef MONOTONIC
		n[0].lag = n[0].lag + n[0].asleep;
		n[1].lag = n[1].lag + n[1].asleep
#endif
		}
	:: atomic { step(0); tidy(0); what = 0; which = 0; verdict = 0; check() }
	:: atomic { step(1); tidy(1); what = 0; which = 0; verdict = 0; check() }
#ifdef BEYOND
	:: atomic { n[0].worker && AWAKE(0) -> word(0) }
	:: atomic { n[1].worker && AWAKE(1) -> word(1) }
#endif
	od
}
