//go:build !linux

package procscan

import "time"

// Booted can't be told here.
func Booted() time.Time { return time.Time{} }
