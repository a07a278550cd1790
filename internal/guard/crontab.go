package guard

import "path/filepath"

// CrontabLock is the file by which the caller's lifelines take turns at
// changing the crontab. There is one crontab whatever --dir says, so the file
// stands in the default directory, which CrontabLock makes if need be.
func CrontabLock() (string, error) {
	d, err := openDir("", true)
	return filepath.Join(d.path, "crontab"), err
}
