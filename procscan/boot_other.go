//go:build !linux && !darwin

package procscan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

func bootID() string {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(int64(tv.Sec), 10)
}
