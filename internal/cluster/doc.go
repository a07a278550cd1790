// Package cluster is lifeline's side of a lease: the right, given by an engine
// (etcd, PostgreSQL) for a time, to run a name on this node. Everything that
// speaks to a network is in a second program, lifeline-remote (package
// [lifeline/internal/cluster/remote]), which this one starts.
//
//	lease, err := cluster.Join(options, name, warn) // *MissingError: no lifeline-remote
//	defer lease.Close()
//	job := supervisor.Job{…, Lease: lease}
//
// # The deadline
//
// A lease ends at its deadline: the time BEFORE the request for it was sent,
// plus the time to live that the engine granted. Only a confirmed renewal
// moves it. It is counted on CLOCK_BOOTTIME, which goes on while the machine
// is suspended. Both programs keep it, each by a timer of its own: at
// [Times].Stop the worker is asked to end, at [Times].Kill its whole tree is
// killed. Should both be stopped, or one be stopped and the other dead, the
// kernel keeps it: at [Times].Doom, while anything lives on the lease, lifeline
// gets SIGKILL from a timer of its own, and the worker dies with it.
//
//	sent            renewal due     Stop           Kill   Doom  deadline
//	 ├───── TTL/3 ─────┼── retries ───┼─── grace ────┼─ margin ─┤
//
// # The protocol, version 1
//
// Lines of text over a stream socketpair(2), descriptor 3 in lifeline-remote.
// A line is a verb and its fields, separated by single spaces and ended by a
// newline, at most 4096 bytes; a field is written as strconv.Quote does where
// it is empty or has a space, a quote or a control character. Durations and
// times are in nanoseconds, times those of CLOCK_BOOTTIME. The first line of
// each side is its hello. An unknown verb, a field too few or too many, a
// deadline that goes back or beyond what can have been granted: the other side
// talks nonsense, and is left.
//
// lifeline says:
//
//	lifeline 1 KEY=VALUE…      hello; the fields are those of [Hello]
//	want                       stand by for the lease; nothing of ours lives
//	starting GEN CGROUP        a worker is about to be started, marked with
//	                           LIFELINE_ID=GEN; the path may be empty
//	started GEN PID START      it is this process (start time in ticks)
//	ended GEN UP CODE          nothing of it lives; it was up for so long
//	release                    nothing at all lives: give the lease back
//	done LABEL CODE            the run for a tick has ended
//	ping                       say pong
//	pong
//	bye                        release what is held, and end
//
// lifeline-remote says:
//
//	remote 1                   hello
//	standing                   the engine is usable; the wait has begun
//	granted FENCE DEADLINE     the lease is ours until then
//	renewed DEADLINE           and now until then
//	tick LABEL                 run once for this tick (RFC 3339, UTC)
//	yield TEXT                 end the worker as usual, then release: a planned
//	                           hand-over
//	lost TEXT                  the lease is gone; the tree is being killed
//	released                   the lease is given back
//	refused CODE TEXT          it will never work like this (wrong password, no
//	                           table); lifeline-remote ends after it
//	say TEXT                   one line for a person
//	ping                       say pong
//	pong
//
// lifeline dies (end of file): lifeline-remote kills what it knows of the
// worker, gives the lease back when nothing of it is left, and ends. It is
// alive and silent (twice the TTL, at least 3 s), or talks nonsense: the worker
// is killed, too, but the lease has to end by itself, because nobody knows what
// such a lifeline will still do with it.
// lifeline-remote dies, or talks nonsense: lifeline ends the worker, by the
// last confirmed deadline at the latest, and starts another lifeline-remote.
// It is silent: the deadline comes. Where there is nothing to be ended, one
// that doesn't answer a ping is killed and started again.
package cluster
