// Package logger is a process beside the supervisor for all work that may block. It
// writes down what the worker prints, runs the hooks, and has the pings sent.
//
//	c, err := logger.Open(place, setup, warn)
//	stdio := c.Stdio()         // the worker's descriptors; zero: lifeline's own
//	c.Started(run); c.Ended(run) // Ended may wait for the output
//	c.Close(limit, false)      // when the hooks have run, or took too long
//
// # Why a process
//
// The supervisor may be killed at any moment, and its worker lives on until the next
// tick adopts it. If the supervisor itself read the worker's pipe, its death would end
// the worker by SIGPIPE, or block it until that tick.
// If the worker wrote straight into the log, there could be no stamps. A rotation
// would lose what is written between copying and cutting, and a full disk would
// stop the worker.
//
// So the reader is a process of its own, which outlives the supervisor. It has its own
// session and another parent, lacks the generation's marker, and only SIGKILL ends it
// early. The logger ends when the last writer has closed the pipe, so it also hears the
// worker's last descendants.
//
// The logger costs memory, so only some options start it. Otherwise the worker has
// lifeline's own descriptors.
//
// # How they find each other
//
// The pipe is a FIFO in the state directory, and beside it is a socket on which the
// logger listens. The supervisor opens the FIFO and connects to the socket. When no
// logger answers, the supervisor starts one. A supervisor that adopts a worker or
// replaces lifeline in place (reload --self) finds pipe and logger by name. Two
// generations of a reload have the same pipe.
//
// The supervisor and the worker hold the FIFO for reading AND writing, so each writer is
// also a reader, and a write never causes SIGPIPE. After the logger's end the pipe
// keeps its content for the next logger, which the supervisor starts at once. When the
// supervisor is killed too, a worker that prints a megabyte waits for the next tick.
//
//	who is killed     the worker                       its output
//	supervisor        goes on (or gets its death       all of it
//	                  signal)
//	logger            goes on                          all but what the logger had read and
//	                                                   not written yet, at most 64 kB
//	both              goes on, waits when a megabyte   the same
//	                  is unread, until the next tick
//
// # What is said on the socket
//
// Each line is a JSON object: a [message] from the supervisor, an [answer] from the
// logger. Descriptors come with [Setup]. A logger ends when no supervisor is connected,
// no process has the pipe open for writing, and all jobs are done.
package logger
