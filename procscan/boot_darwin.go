package procscan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

func bootID() string {
	// kern.bootsessionuuid names one boot (sysctl(3) on macOS).
	if id, err := unix.Sysctl("kern.bootsessionuuid"); err == nil {
		return id
	}
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(tv.Sec, 10)
}
