// Package cluster is lifeline's side of a lease: the right to run a name on
// this node. An engine (etcd, PostgreSQL) gives it for a time. Everything that
// speaks to a network is in a second program, lifeline-remote (package
// node), which this package starts.
//
//	lease, err := cluster.Join(options, name, warn) // *MissingError: no lifeline-remote
//	defer lease.Close()
//	job := supervisor.Job{…, Lease: lease}
//
// # The deadline
//
// A lease ends at its deadline: the time BEFORE the request for it was sent,
// plus the time to live that the engine granted. Only a confirmed renewal moves
// it. It is counted on CLOCK_BOOTTIME, which goes on while the machine is
// suspended. Each of the two programs keeps the deadline by a timer of its own.
// At [Times].Stop the worker is asked to end, at [Times].Kill its whole tree is
// killed. The kernel keeps the deadline if both programs are stopped, or one is
// stopped and the other dead. While a process of the lease lives, a kernel
// timer sends lifeline SIGKILL at [Times].SelfKill, and the worker dies with
// lifeline.
//
//	sent            renewal due     Stop         Kill  SelfKill  deadline
//	 ├───── TTL/3 ─────┼── retries ───┼─── grace ───┼── margin ──┤
//
// # The protocol, version 1
//
// Lines of text over a stream socketpair(2), descriptor 3 in lifeline-remote. A
// line is a verb and its fields, separated by single spaces and ended by a
// newline, at most 64 KiB. A field that is empty or has a space, a quote or
// a control character is written as strconv.Quote writes it. Durations and
// times are in nanoseconds, times those of CLOCK_BOOTTIME. The first line of
// each side is its hello. A program that receives nonsense leaves the other
// one. Nonsense is an unknown verb, a field too few or too many, or a deadline
// that goes back or lies beyond what can be granted.
//
//	lifeline 1 KEY=VALUE…      hello; the fields are those of [Hello]
//	want                       stand by for the lease; no worker lives
//	starting GEN CGROUP        a worker is about to be started, marked with
//	                           LIFELINE_ID=GEN; the path may be empty
//	started GEN PID START      the process of the worker (start time in ticks)
//	ended GEN UP CODE          every process of GEN has ended; the worker was up
//	                           for UP
//	release                    every process has ended: give the lease back
//	done LABEL CODE            the run for a tick has ended
//	ping                       say pong
//	pong
//	bye                        release what is held, and end
//
// lifeline-remote says:
//
//	remote 1                   hello
//	standing                   the engine is usable; the wait has begun
//	granted FENCE DEADLINE     this node has the lease until then
//	renewed DEADLINE           and now until then
//	tick LABEL                 run once for this tick (RFC 3339, UTC)
//	yield TEXT                 end the worker as usual, then release: a planned
//	                           hand-over
//	lost TEXT                  the lease is gone; the tree is being killed
//	released                   the lease is given back
//	refused CODE TEXT          the engine will refuse every try (wrong password,
//	                           no table); lifeline-remote ends after it
//	trouble TEXT               what keeps it from the engine now; empty for nothing
//	say TEXT                   one line for a person
//	ping                       say pong
//	pong
//
// When lifeline dies (end of file), lifeline-remote kills what it knows of the
// worker, gives the lease back after every process has ended, and ends. When
// lifeline is alive but silent (twice the TTL, at least 3 s), or talks
// nonsense, lifeline-remote kills the worker, too. It then lets the lease end
// by itself, because such a lifeline may still start a worker. When
// lifeline-remote dies or talks nonsense, lifeline ends the worker, by the last
// confirmed deadline at the latest, and starts another lifeline-remote. When
// lifeline-remote is silent while a worker lives, the deadline comes. When no
// worker lives, lifeline kills a lifeline-remote that leaves a ping unanswered,
// and starts another.
package cluster
