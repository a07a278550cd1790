//go:build !linux

package guard

func slim() {}
