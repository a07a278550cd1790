// Package worker is for programs that run under lifeline. The program says when it
// is ready, sends heartbeats, and ends when its supervisor is gone. It takes over
// from its previous generation, and hands its listening socket on without losing a
// request.
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
//		defer stop()
//		ctx, cancel := worker.WithSupervisor(ctx)
//		defer cancel()
//		l, err := worker.Listen("", "tcp", "127.0.0.1:8080")
//		if err != nil {
//			log.Fatal(err)
//		}
//		worker.Ready()
//		err = worker.Serve(ctx, &http.Server{Handler: app}, l)
//		…
//	}
//
// A function that the supervisor didn't ask for does nothing and returns nil. So
// the same program runs under lifeline, under systemd and alone.
//
// # Where the protocols come from
//
// Readiness, status and heartbeats are datagrams to NOTIFY_SOCKET, see
// sd_notify(3) and sd_watchdog_enabled(3). Listening sockets are inherited from
// descriptor 3 on, see sd_listen_fds(3). The conversation with the supervisor
// is that of Perl's App::Base::Daemon::Supervisor: lines on a stream socket
// whose descriptor is in LIFELINE_FD. "ping" is answered by "pong", "takeover"
// by "ok", "shutdown" by the worker's end; end of file means that the
// supervisor is gone.
//
// # What becomes of the environment
//
// At their first use, variables that are meant for this process alone are removed
// from the environment, and their descriptors are made close-on-exec. So a child
// can't answer in the worker's place. LIFELINE_FD goes at the first call of
// [Supervised], [WithSupervisor], [PingSupervisor], [ReadyToTakeOver] or
// [Shutdown]. LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES go at the first call of
// [Listeners], [Listen] or [Files]. WATCHDOG_USEC and WATCHDOG_PID go at the
// first call of [Watchdog]. Make those calls before the first child is started.
// NOTIFY_SOCKET stays, for a child that reports on the worker's behalf, as do
// LIFELINE_NAME, LIFELINE_ID and LIFELINE_FENCE. A worker whose shell scripts
// use `lifeline ping` leaves LIFELINE_FD to them and must not call the first
// group. Two readers of one socket would steal each other's answers.
//
// All functions may be called from any goroutine.
package worker
