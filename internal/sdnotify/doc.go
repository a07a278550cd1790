// Package sdnotify speaks the sd_notify protocol in both directions. It
// receives what a supervised worker says about itself, and it tells the service
// manager above how this process is. Neither side needs systemd.
//
// The receiving side, as the one loop of a supervisor uses it:
//
//	r, err := sdnotify.Listen(dir+"/notify", sdnotify.Options{Member: inTree})
//	cmd.Env = sdnotify.Environ(os.Environ(), r.Addr(), 20*time.Second)
//	for {
//		select {
//		case <-r.C(): // something came in
//			for _, m := range r.Drain() {
//				handle(&m)
//				m.Close() // answers a BARRIER=1, closes what was not taken
//			}
//		case <-childEnded: // first r.Drain(), then the exit
//		case <-watchdog.C: // first r.Drain(), then the expiry
//		}
//	}
//
// The sending side:
//
//	c, err := sdnotify.FromEnviron()
//	sdnotify.Unsetenv() // a child must not speak in this process's name
//	c.Ready()
//
// # Who may speak
//
// The kernel puts the sender's process id and user onto every message
// (SO_PASSCRED, unix(7)), and Options.Member says which process ids belong to
// the worker. Every other sender is dropped, counted and reported once. A
// process that has exited before its message was read can't be looked up any
// more. Such a message is dropped too, with a warning of its own. sd_notify(3)
// names the way out: sd_notify_barrier(3), which systemd-notify(1) uses unless
// it is given --no-block.
//
// Root can put any process id onto a message (unix(7), SCM_CREDENTIALS), so the
// check holds against every user but root.
//
// # Platforms
//
// Only on Linux does a datagram carry credentials that can be relied upon here.
// Elsewhere Sender.Known is false, Member is never asked, and every process
// that can reach the socket's directory is believed: keep it at mode 0700
// there. Abstract addresses ("@name") are Linux only as well.
package sdnotify
