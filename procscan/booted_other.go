//go:build !linux

package procscan

import "time"

// Booted returns zero, because the time of boot isn't known here.
func Booted() time.Time { return time.Time{} }
