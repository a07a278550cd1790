//go:build !linux

package process

func executed() string { return "" } // os.Executable needs no /proc here
