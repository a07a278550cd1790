//go:build !linux

package supervisor

const lastSignal = 31
