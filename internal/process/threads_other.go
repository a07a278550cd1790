//go:build !linux

package process

// RoomForThreads returns nil: the number of a user's threads is unknown here.
func RoomForThreads() error { return nil }

// ReserveThreads does nothing here.
func ReserveThreads() {}
