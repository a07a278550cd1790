// Package cluster is lifeline's side of a lease: the right to run a name on
// this node. An engine (etcd, PostgreSQL) grants the lease for a time. Everything
// that speaks to a network is in a second program, lifeline-remote (package
// node), which this package starts.
//
//	lease, err := cluster.Join(options, name, grace, warn) // *MissingError: no lifeline-remote
//	defer lease.Close()
//	job := supervisor.Job{…, Lease: lease}
//
// # The deadline
//
// The deadline of a lease is the time BEFORE the request was sent, plus the
// time to live that the engine granted. Only a confirmed renewal moves the
// deadline. Its clock is CLOCK_BOOTTIME, which goes on while the machine is
// suspended. Each of the two programs keeps the deadline by a timer of its own.
// At [Times].Stop the worker is asked to end, at [Times].Kill its whole tree is
// killed. The kernel keeps the deadline if each program is stopped or dead.
// While a process of the lease lives, a kernel timer sends lifeline SIGKILL at
// [Times].SelfKill, and the worker dies with lifeline.
//
//	sent            renewal due     Stop         Kill  SelfKill  deadline
//	 ├───── TTL/3 ─────┼── retries ───┼─── grace ───┼── margin ──┤
//
// # The protocol, version 2
//
// Lines of text over a stream socketpair(2), descriptor 3 in lifeline-remote, at
// most 64 KiB each. The first line of each side is its banner, with the version
// of its protocol: "lifeline 2" and "remote 2". Each program refuses another
// version in one line. Every other line is a [Message] as JSON. Durations and
// times are in nanoseconds, times those of CLOCK_BOOTTIME. A program that
// receives nonsense leaves the other one. Nonsense is an unknown verb, a field
// that is missing, or a deadline that goes back or lies beyond what can be
// granted. Unknown fields are skipped.
//
// lifeline says, with the fields that a verb has:
//
//	hello     hello                  what lifeline wants; the first one
//	want                             stand by for the lease; no worker lives
//	starting  generation, cgroup     a worker is about to be started, marked with
//	                                 LIFELINE_ID; the path may be empty
//	started   generation, pid, start the process of the worker
//	ended     generation, up, code   every process of the generation has ended; with
//	                                 unbegun, the command was never executed
//	release                          every process has ended: give the lease back
//	done      label, code            the run for a tick has ended
//	ping                             say pong
//	pong
//	bye                              release what is held, and end
//
// lifeline-remote says:
//
//	standing                    the engine is usable; the wait has begun
//	granted   fence, deadline   this node has the lease until then
//	renewed   deadline          and now until then
//	tick      label             run once for this tick (RFC 3339, UTC)
//	yield     text              end the worker as usual, then release: a planned
//	                            hand-over
//	lost      text              the lease is gone; the tree is being killed
//	released                    the lease is given back
//	refused   code, text        the engine will refuse every try (wrong password,
//	                            no table); lifeline-remote ends after it
//	trouble   text              what keeps it from the engine now; none for nothing
//	say       text              one line for a person
//	ping                        say pong
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
