//go:build !darwin

package supervise

const maxrssUnit = 1024 // kilobytes, getrusage(2)
