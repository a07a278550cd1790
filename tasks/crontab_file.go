package tasks

import (
	"errors"
	"path/filepath"

	"lifeline/install"
	"lifeline/internal/human"
)

// lookOptions returns the options that say where a name's files and its crontab
// line are.
func (o *options) lookOptions() []*option {
	return append(o.dirOptions(), crontabOption(&o.crontab))
}

func crontabOption(to *string) *option {
	return &option{name: "crontab", value: "FILE", to: set(func(text string) (err error) {
		if text == "" {
			return errors.New("no file is given")
		}
		*to, err = filepath.Abs(text)
		return err
	}), usage: "the lines are in this file, which supercronic reads, not in your crontab"}
}

// crontabFile returns the crontab that --crontab names, else the caller's own.
func (o *options) crontabFile() install.Crontab { return install.Crontab{File: o.crontab} }

// inFile returns --crontab as it was given, for a command to paste.
func (o *options) inFile() string {
	if o.crontab == "" {
		return ""
	}
	return " --crontab " + human.ShellLine([]string{o.crontab})
}

// kind returns the format of that crontab's lines.
func (o *options) kind() install.Kind {
	if o.crontab != "" {
		return install.Supercronic
	}
	return install.UserTable
}
