// Package guard keeps a name: at most one instance of a name runs at a time, on
// one machine, for one user.
//
//	hold, err := guard.Guard{}.Acquire(ctx, "web")
//	if errors.Is(err, guard.ErrHeld) {
//		return nil // another instance runs
//	}
//	defer hold.Release()
//	id, err := hold.Launch(ctx, guard.NewGeneration(), fork)
//
// Two mechanisms stand side by side, and either is enough on its own:
//   - A, the lock file: its flock is the supervisor's alone. A tick that finds it
//     held exits at once.
//   - B, the process table. A supervisor announces a start by the name of its main
//     thread, takes a census, and forks. The worker shows a marker in its
//     environment, holds the run file's lock by inheritance, and is named in the
//     run file's record.
//
// The steps of a start, and the files they stand in:
//
//  1. name and directory are checked                                    name.go, dir.go
//  2. the lock file is locked, without waiting                          lockfile.go
//  3. busy: the instance runs, or its holder is idle                    wait.go
//  4. the run file and its record: an orphan is inherited               guard.go
//  5. the start is announced, both files are secured, a census elects   launch.go, census.go
//  6. the command is forked                                             package process
//  7. the record is written                                             record.go
//  8. the announcement is withdrawn                                     launch.go
//  9. a removed file is put back                                        keep.go
//  10. the worker has ended; the name is released                       hold.go
//
// A later start of the same supervisor takes no census if both files have been
// in their place since the last census. Only the owner of newer files could be a
// rival. That owner announced itself and took its census after this supervisor
// had announced, so it sees this supervisor and stands down.
//
// For the block of [Guard.Do] the program itself is the instance. A process
// can't change the environment that other processes see. So the record and the
// program's open files, removed ones too, show whose instance the program is.
package guard
