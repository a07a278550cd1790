//go:build !linux

package procscan

// CanSeeFlocks: nothing tells it here.
const CanSeeFlocks = false

// Flockers can't be known here.
func Flockers(path string) []ID { return nil }

// Flocks can't be known here.
func Flocks(ID, string) bool { return false }
