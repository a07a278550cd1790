// Package worker is for programs that run under lifeline. They say when they are
// ready, send heartbeats, and end when their supervisor is gone. They take over from a
// previous generation, and hand a listening socket on without losing a request.
//
//	ctx, cancel := worker.WithSupervisor(ctx)
//	defer cancel()
//	l, err := worker.Listen("", "tcp", "127.0.0.1:8080")
//	…
//	worker.Ready()
//	err = worker.Serve(ctx, &http.Server{Handler: app}, l)
//
// A function that the supervisor didn't ask for does nothing and returns nil. So the
// same program runs under lifeline, under systemd and alone. All functions may be
// called from any goroutine, and first before the program starts a child.
package worker
