// Package sdnotify speaks the sd_notify protocol in both directions. It
// receives what a supervised worker says about itself, and it tells the service
// manager above about this process. Neither side needs systemd.
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
//				m.Close() // answers a BARRIER=1, closes descriptors not taken
//			}
//		case <-childEnded: // first r.Drain(), then the exit
//		case <-watchdog.C: // first r.Drain(), then the expiry
//		}
//	}
//
// The sending side:
//
//	c, err := sdnotify.FromEnviron()
//	c.Ready()
//
// # Who may speak
//
// The kernel puts the sender's process id and user onto every message
// (SO_PASSCRED, unix(7)), and Options.Member says which process ids belong to
// the worker. A message of any other sender is dropped and counted, and the first is
// reported. A message whose sender has exited before the reading is dropped too,
// with a warning of its own, because the sender can't be looked up. sd_notify(3)
// names the remedy: sd_notify_barrier(3), which systemd-notify(1) uses unless
// --no-block is given.
//
// Root can put any process id onto a message (unix(7), SCM_CREDENTIALS), so the
// check holds against all other users.
//
// # Platforms
//
// Only Linux puts reliable credentials onto a datagram. Elsewhere Sender.Known is
// false, Member is never called, and every process that can reach the socket is
// believed. Keep the socket's directory at mode 0700 there. Abstract addresses
// ("@name") also exist on Linux only.
package sdnotify
