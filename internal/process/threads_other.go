//go:build !linux

package process

// RoomForThreads returns nil: how many threads a user has can't be told here.
func RoomForThreads() error { return nil }

// ReserveThreads does nothing here.
func ReserveThreads() {}
