// Package output keeps what a worker prints: a log that is rotated, stamps for
// its lines, the last few kilobytes, a spool that is shown or thrown away.
//
//	log, err := output.OpenLog(output.Log{Path: "/var/log/web.log", MaxSize: 10 << 20, Keep: 5}, report)
//	log.Write(text) // no error: what can't be written is counted, reported once, and noted in the log
//
// It knows nothing of processes; package logger is the process that uses it. It
// is a package of ours because the kept ones for Go (lumberjack, and what came
// from it) give ENOSPC back to the caller, name old files by time, which two
// rotations within a second break, cut lines in two, and start a goroutine that
// compresses and deletes: here the order is FILE, FILE.1, FILE.2 …, the oldest
// last, and everything that was written is in exactly one of them.
package output
