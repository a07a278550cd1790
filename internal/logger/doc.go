// Package logger is a process beside the supervisor that does all that may have
// to wait: it writes down what the worker prints, runs the hooks, and has the
// pings sent.
//
//	c, err := logger.Open(place, setup, warn)
//	stdio := c.Stdio()         // the worker's descriptors; zero: lifeline's own
//	c.Started(run); c.Ended(run) // return at once
//	c.Close(limit, false)      // when the hooks have run, or took too long
//
// # Why a process
//
// The supervisor may be killed at any moment, and its worker lives on until
// the next tick adopts it. If the supervisor itself read the worker's pipe, the
// worker would then die of SIGPIPE at its next word, or hang for up to a minute
// once the pipe is full. If the worker wrote straight into the log, no program could
// rotate it without losing what is written between copying and cutting, a full
// disk would be the worker's own problem, and there could be no stamps. So the
// reader is a process of its own, which nothing that ends the supervisor ends:
// in a session of its own, no descendant of the supervisor, without the
// generation's marker, deaf to every signal but SIGKILL. It ends by itself when
// the last writer has closed the pipe. So a worker's descendants that outlive
// everything are heard to the last word, and no process waits for them.
//
// It costs memory, so it is there only where an option asks for it; without one
// the worker has lifeline's own descriptors.
//
// # How they find each other
//
// The pipe is a FIFO in the state directory, and beside it a socket on which
// the logger listens. The supervisor opens the FIFO and connects. Where no logger
// answers, it starts one. Thus adopting a worker, and replacing lifeline in
// place (reload --self), need nothing handed over: the new supervisor finds
// pipe and logger by name. Two generations of a reload have the same pipe.
//
// The supervisor and the worker hold the FIFO for reading AND writing. So it
// has a reader for as long as it has a writer, whichever is killed. With the logger
// gone no process gets SIGPIPE, and what is in the pipe waits for the next logger,
// which the supervisor starts at once. Only when both are killed may the worker
// have to wait, if it prints a megabyte before the next tick.
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
// One JSON object a line, [message] from the supervisor, [answer] from the
// logger; descriptors come with the first ([Setup]). A logger ends when no
// supervisor is connected, nobody has the pipe open for writing, and its work
// is done.
package logger
