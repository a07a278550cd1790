package guard

import (
	"os"
	"path/filepath"

	"lifeline/internal/statedir"
)

// CrontabLock is the file by which the caller's lifelines take turns at
// changing the crontab. There is one crontab whatever --dir says, so the file
// stands beside the default state directory, which need not be there.
func CrontabLock() (string, error) {
	path := DefaultDir()
	return path + ".crontab", os.MkdirAll(filepath.Dir(path), 0o755)
}

// Home is uid's in the password file, "" if it isn't there.
func Home(uid int) string { return statedir.UserHome(uid) }
