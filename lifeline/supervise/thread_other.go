//go:build !linux

package supervise

func onFirstThread() bool { return true }
