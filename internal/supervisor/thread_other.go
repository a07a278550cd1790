//go:build !linux

package supervisor

func onFirstThread() bool { return true }
