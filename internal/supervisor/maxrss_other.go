//go:build !darwin

package supervisor

const maxrssUnit = 1024 // kilobytes, getrusage(2)
