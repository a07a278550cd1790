//go:build !linux

// Package tick decides the tick that finds its instance early; on this system
// the whole program decides.
package tick
