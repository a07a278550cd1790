// Package guard is the guard: at most one instance of a name at a time, on
// one machine, for one user.
//
//	err := lifeline.Guard{}.Do(ctx, "report", func(ctx context.Context) error {
//		return makeReport(ctx)
//	})
//	var held *lifeline.HeldError
//	if errors.As(err, &held) {
//		// another one is at work: held.Holder says who
//	}
//
// Two mechanisms stand side by side, and each alone keeps the promise:
//
//   - A, the flock: K.lock in the state directory is held by the supervisor
//     alone. A tick that finds it held looks no further.
//   - B, the process table: the worker inherits a second lock, K.run, with a
//     record of who it is; it announces itself by a marker in its environment
//     before it looks for others, and only then becomes the command. Of
//     simultaneous starts exactly one survives, even with every lock gone.
//
// For the block of [Guard.Do] the program itself is the instance, and a
// process can't change the environment others see of it. Mechanism B is then
// the run lock with its record alone. What that leaves open: if somebody
// removes BOTH files, a second program that starts before the first has put
// them back (it notices within a fraction of a millisecond, unless it is
// stopped) will not see it. Whoever can't accept that lets cron run
// `lifeline NAME -- PROGRAM`.
//
// The steps in the code carry the numbers of the algorithm:
//
//  1. name and directory            name.go, dir.go
//  2. lock K.lock                   lockfile.go
//  3. busy: who holds it            guard.go
//  4. won: K.run, orphans           guard.go
//  5. record, start of the stub     guard.go, stub.go
//  6. stub: announce, look, become  stub.go
//  7. signals                       supervise
//  8. put back what is removed      keep.go
//  9. leftovers, release            supervise, guard.go
package guard
