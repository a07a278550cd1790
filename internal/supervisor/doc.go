// Package supervisor keeps a worker up: one goroutine, one select, one timer.
//
//	err := supervisor.Run(ctx, supervisor.Job{Options: &options, Hold: hold, Argv: argv, Warn: warn})
//	var ended *supervisor.EndError // how the worker ended, if not well
//
// A worker's state says what is; the loop's goal says what was asked for. Each
// state has one deadline, at which exactly one thing happens. A reload adds a
// second generation with a state of its own, and the timer is set to the earliest
// deadline.
//
//	            ┌──────────────────────────────────────────────┐
//	            ▼ up is desired                                │
//	 ┌──────┐ delay over ┌──────────┐ ready  ┌────┐            │
//	 │ down ├───────────►│ starting ├───────►│ up │            │
//	 └──────┘            └────┬─────┘        └─┬──┘            │
//	                          │ failed, stop   │ stop, time    │
//	                          ▼                ▼ over, left-   │
//	                      ┌──────────────────────┐ overs       │
//	                      │       stopping       ├─────────────┘
//	                      └──────────────────────┘  tree empty
//
//	event              down      starting            up                    stopping
//	deadline           start     stop the tree       stop the tree (time   kill the tree
//	                             (not ready in time) is over; watchdog)
//	worker ends        -         leftovers, then down or finish            leftovers keep it
//	tree empty         -         -                   (follow: ended)       down or finish
//	ready              -         up                  answer a reload       -
//	heartbeat          -         -                   deadline moves        -
//	stopping said      -         stopping            stopping, no signal   -
//	stop asked         finish    stop the tree       stop the tree         goes on
//	restart asked      start     stop the tree,      stop the tree,        then start
//	                             then start          then start
//	other signals      -         passed on           passed on             passed on
//
// "Stop the tree" signals the main process, and the rest when that process has
// ended; the kill mode control-group signals all at once. "finish" ends the loop.
// "down" comes only when the options ask for another start and up is still desired.
package supervisor
