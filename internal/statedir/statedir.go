// Package statedir tells where a user's state directory is. The early tick links
// it, so it imports nothing that is costly to initialise.
package statedir

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Default returns the state directory of the calling user. It depends only on the
// effective uid and on the uid's home in the password file. cron sets no XDG
// variable, and HOME may differ between cron and a login: a name would have two
// directories.
func Default() string {
	uid := os.Geteuid()
	if uid == 0 {
		if runtime.GOOS == "linux" {
			return "/run/lifeline"
		}
		return "/var/run/lifeline"
	}
	if home := UserHome(uid); home != "" && homeFits(home, uid) {
		// A home may be shared by several machines; names are per machine.
		return filepath.Join(home, ".local/state/lifeline", machineID())
	}
	return "/var/tmp/lifeline-" + strconv.Itoa(uid)
}

// Memory returns the directory of the calling user's journals and pauses, which
// must survive a reboot. For root it isn't Default, because a reboot empties /run.
func Memory() string {
	switch {
	case os.Geteuid() != 0:
		return Default()
	case runtime.GOOS == "linux":
		return "/var/lib/lifeline"
	}
	return "/var/db/lifeline" // hier(7)
}

// passwd returns the fields of uid's line in the password file, nil if the line is
// missing. Users that only a directory service knows have no line, and get a
// directory in /var/tmp.
func passwd(uid int) []string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) >= 6 && f[2] == strconv.Itoa(uid) {
			return f
		}
	}
	return nil
}

// UserName returns uid's name in the password file, "" if uid isn't there.
func UserName(uid int) string {
	if f := passwd(uid); f != nil {
		return f[0]
	}
	return ""
}

// UserHome returns uid's home in the password file, "" if uid isn't there.
func UserHome(uid int) string {
	if f := passwd(uid); f != nil {
		return f[5]
	}
	return ""
}

func homeFits(home string, uid int) bool {
	var st unix.Stat_t
	if !filepath.IsAbs(home) || unix.Stat(home, &st) != nil {
		return false
	}
	network, err := OnNetwork(home)
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == uid && err == nil && network == ""
}

func machineID() string {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) >= 8 {
		return strings.TrimSpace(string(id))
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		return host
	}
	return "machine"
}
