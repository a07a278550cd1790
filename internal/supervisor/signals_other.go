//go:build !linux

package supervisor

const (
	firstRealTime = 32
	lastSignal    = 31
)
