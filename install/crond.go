package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The PATH that commands get: CronPath from cron itself, in a user's crontab without
// a PATH setting, and CronDPath from the files that CronD writes.
const (
	CronPath  = "/usr/bin:/bin"
	CronDPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// cronDHeader begins a new file. /etc/crontab's settings don't apply to files in
// /etc/cron.d, so the header sets the shell that Quote writes for, and root's usual
// PATH. Other settings (MAILTO) can be added by hand; they stay.
const cronDHeader = `# Made by "lifeline install". Changes outside the block below are kept.
SHELL=/bin/sh
PATH=` + CronDPath + "\n"

// CronD is a directory of system crontabs, one file for each name.
type CronD struct {
	Dir  string // "" is /etc/cron.d
	Lock string // as Crontab's
}

// Edit reads name's file, lets change make the new text, and writes it. Two
// lifelines wait for each other. It returns the two texts.
func (d CronD) Edit(ctx context.Context, name string, change func(text string) (string, error)) (old,
	new string, err error) {
	unlock, err := lock(ctx, d.Lock)
	if err != nil {
		return "", "", fmt.Errorf("cannot change the system crontab of %q: %w", name, err)
	}
	defer unlock()
	if old, err = d.Read(name); err != nil {
		return "", "", err
	}
	if new, err = change(old); err != nil || new == old {
		return old, old, err
	}
	return old, new, d.Write(name, new)
}

// Path returns the file of name.
//
// Cron silently ignores files with other characters than letters, digits, _ and - in
// their names (as run-parts does). So Path writes each other character as _ and a
// letter (app.x is lifeline-app_dx), and doubles _. Each name has a file of its own.
func (d CronD) Path(name string) (string, error) {
	if !validName().MatchString(name) {
		return "", fmt.Errorf("cannot make a file for %q: use a name of 1 to 128 letters, digits and . _ - : @ +, "+
			"beginning with a letter or digit", name)
	}
	file := "lifeline-" + strings.NewReplacer("_", "__", ".", "_d", ":", "_c", "@", "_a", "+", "_p").Replace(name)
	if len(file) > 255 {
		return "", fmt.Errorf("cannot make a file for %q: its name would have %d characters, and 255 is the limit: "+
			"choose a shorter name", name, len(file))
	}
	dir := d.Dir
	if dir == "" {
		dir = "/etc/cron.d"
	}
	return filepath.Join(dir, file), nil
}

// Read returns the text of name's file, "" if there is none. For Find and Entries it
// is a SystemTable.
func (d CronD) Read(name string) (string, error) {
	path, err := d.Path(name)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the system crontab of %q: %w", name, err)
	}
	return string(text), nil
}

// AddSystem does what Add does, for the text of a file in /etc/cron.d. e.User must be
// set.
func AddSystem(text string, e Entry) (string, error) {
	if e.User == "" {
		return "", fmt.Errorf("cannot write a system crontab for %q: each line there names a user, and none is given",
			e.Name)
	}
	if text == "" {
		text = cronDHeader
	}
	return Add(text, e)
}

// RemoveSystem does what Remove does, for the text of a file in /etc/cron.d. rest is ""
// when no other line in it runs anything.
func RemoveSystem(text, name string) (rest string, found bool, err error) {
	rest, found, err = Remove(text, name)
	if found && idle(rest) {
		rest = ""
	}
	return rest, found, err
}

// idle reports whether text holds nothing but comments and settings.
func idle(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if _, _, ok := setting(line); line != "" && line[0] != '#' && !ok {
			return false
		}
	}
	return true
}

// Write replaces name's file by text in one step: cron sees the old file or the new
// one. "" deletes the file. It belongs to root and has mode 0644, as cron requires.
func (d CronD) Write(name, text string) error {
	path, err := d.Path(name)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("cannot write %s: cron takes only root's files there: run it as root", path)
	}
	if text == "" {
		err = os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = writeFile(path, text)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot write %s: %w: is there a cron that reads this directory? The user's own crontab is "+
			"the other way", path, err)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s, which is as it was: %w", path, err)
	}
	return nil
}

func writeFile(path, text string) (err error) {
	// The dots make cron ignore the file before it has its name.
	file, err := os.CreateTemp(filepath.Dir(path), ".lifeline.*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.WriteString(text)
	err = errors.Join(err, file.Chown(0, 0), file.Chmod(0o644), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
