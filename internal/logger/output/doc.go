// Package output keeps what a worker prints: in a rotated log, in a spool, or as the last
// few kilobytes. It can put stamps on lines.
//
//	log, err := output.OpenLog(output.Log{Path: "/var/log/web.log", MaxSize: 10 << 20, Keep: 5}, report)
//	log.Write(text) // no error: what can't be written is counted, reported once, and noted in the log
//
// The process that uses it is package logger. Go's maintained packages (lumberjack and
// its descendants) don't fit: they return ENOSPC to the caller and cut lines in two. They
// also name old files by time, which two rotations within a second break. Here the files
// are FILE, FILE.1, FILE.2 …, the oldest last, and each byte is in exactly one of them.
package output
