package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Crontab is a user's crontab, which crontab(1) reads and writes, or a file.
type Crontab struct {
	User    string // "" is the caller; another one needs root
	File    string // a file that another program than crontab(1) reads, such as supercronic; "" is none
	Program string // "" is "crontab"
	Lock    string // the file by which lifelines wait for each other; "" is none
}

// emptyMessage matches what crontab -l says without a crontab: "no crontab for web",
// or busybox's "can't open 'web': No such file or directory". A missing spool
// directory doesn't match.
var emptyMessage = lazy(`(?i)\bno crontab for\b|can't open '[^/']*': No such file`)

// shownControls shows the two control characters that can hide a line on a terminal
// as Debian's crontab -l does (since 3.0pl1-149). No option turns that off, even in a
// pipe.
var shownControls = strings.NewReplacer("\r", `\r`, "\b", `\b`)

// settle is how long crontab(1) may take to clean up after it was told to stop, and
// how long state may take.
const settle = 5 * time.Second

// Read returns the crontab, byte for byte. No crontab is "" and no error.
func (c Crontab) Read(ctx context.Context) (string, error) {
	if c.File != "" {
		text, err := os.ReadFile(c.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot read the crontab%s: %w", c.of(), err)
		}
		return string(text), nil
	}
	text, message, err := c.run(ctx, nil, "-l")
	if err != nil && text == "" && emptyMessage().MatchString(message) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the crontab%s: %w", c.of(), err)
	}
	if !strings.Contains(text, `\r`) && !strings.Contains(text, `\b`) {
		return text, nil
	}
	// Debian may show a carriage return and a backspace that way, and writing the
	// escapes back would change the crontab. crontab -e gives the true text to the
	// editor; cat prints it.
	exact, _, err := c.run(ctx, nil, "-e")
	switch {
	case err != nil:
		return "", fmt.Errorf(`cannot read the crontab%s exactly: crontab -l may show a carriage return as \r, and with the editor cat: %w`,
			c.of(), err)
	case exact != text && shownControls.Replace(exact) != text:
		return "", fmt.Errorf("cannot read the crontab%s exactly: crontab -l and crontab -e show different texts: "+
			"take \\r and \\b out of it by hand, or try again", c.of())
	}
	return exact, nil
}

// errRaced is the error when another program has changed the crontab meanwhile.
var errRaced = errors.New("another program changed it at the same moment")

// attempts is how often Edit tries when other programs change the crontab. Lifelines
// wait for each other, so only another program such as crontab -e costs an attempt.
const attempts = 5

// Edit reads the crontab, lets change make the new text, and writes it. Two
// lifelines wait for each other. When another program changes the crontab in
// the meantime, Edit starts over with the text that program wrote. It returns
// the text it read first and the text that stands there now.
func (c Crontab) Edit(ctx context.Context, change func(text string) (string, error)) (old, new string, err error) {
	unlock, err := lock(ctx, c.Lock)
	if err != nil {
		return "", "", fmt.Errorf("cannot change the crontab%s: %w", c.of(), err)
	}
	defer unlock()
	for i := range attempts {
		text, err := c.Read(ctx)
		if err != nil {
			return "", "", err
		}
		if i == 0 {
			old = text
		}
		if new, err = change(text); err != nil {
			return "", "", err
		}
		if err = c.Write(ctx, text, new); err == nil {
			if now := time.Now(); c.Lock != "" && text != new {
				_ = os.Chtimes(c.Lock, now, now) // doctor reads the time of the last change here
			}
			return old, new, nil
		}
		if !errors.Is(err, errRaced) {
			return "", "", err
		}
	}
	return "", "", fmt.Errorf("cannot write the crontab%s: %w, %d times in a row: end the other program's change "+
		"(crontab -e), then try again", c.of(), errRaced, attempts)
}

// Write replaces old, which Read returned, by new. It writes nothing when the crontab
// has changed since. During the call, a file that only the caller can read keeps old.
// The file stays when the crontab is damaged or unreadable: the error names the file.
func (c Crontab) Write(ctx context.Context, old, new string) error {
	if old == new {
		return nil
	}
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if now != old {
		return fmt.Errorf("cannot write the crontab%s: %w, and nothing was written: try again", c.of(), errRaced)
	}
	kept, err := keep(old)
	if err != nil {
		return fmt.Errorf("cannot write the crontab%s: cannot keep a copy of it first, so nothing was written: %w",
			c.of(), err)
	}
	err = c.replace(ctx, old, new)
	if err == nil {
		// The crontab is written: a copy that can't be deleted is no failure.
		os.Remove(kept)
		return nil
	}
	state, whole := c.state(ctx, old, new)
	if whole {
		os.Remove(kept)
		return fmt.Errorf("cannot write the crontab%s: %w; %s", c.of(), err, state)
	}
	back := "crontab " + c.flag() + kept
	if c.File != "" {
		back = "cp " + kept + " " + c.File
	}
	return fmt.Errorf("cannot write the crontab%s: %w; %s; it was kept as it had been in %s: to put it back, run: %s",
		c.of(), err, state, kept, back)
}

// replace installs text, and reads the crontab back to check it.
func (c Crontab) replace(ctx context.Context, old, text string) error {
	err := c.set(ctx, text)
	if err != nil && ctx.Err() == nil && text != "" && !strings.HasSuffix(text, "\n") {
		// Debian's crontab refuses a text without a final newline, but an existing
		// crontab may lack it.
		text += "\n"
		err = c.set(ctx, text)
	}
	if err != nil {
		return err
	}
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	switch {
	case now == text:
		return nil
	case now == old || strings.HasPrefix(text, now):
		return errors.New("crontab(1) reported success, but the crontab reads differently from what was written")
	}
	return errRaced // the crontab has a third text, so another program wrote it
}

func (c Crontab) set(ctx context.Context, text string) error {
	if c.File != "" {
		return overwrite(c.File, text)
	}
	if text == "" {
		_, _, err := c.run(ctx, nil, "-r")
		if err != nil && ctx.Err() == nil {
			if _, _, deleted := c.run(ctx, nil, "-d"); deleted == nil { // dcron has no -r
				return nil
			}
		}
		return err
	}
	// crontab(1) gets a complete file, because a pipe would end early if this process
	// were killed, and crontab would install half of the text. The file is its standard
	// input, because busybox opens a named file as the other user.
	name, err := keep(text)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, _, err = c.run(ctx, file, "-")
	return err
}

// overwrite replaces a file's text in one step, and keeps its owner and mode. A file
// that can't be replaced, such as a container's mount, is written in place.
func overwrite(path, text string) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if dir := filepath.Dir(path); !isDir(dir) {
		return fmt.Errorf("there is no directory %s; mkdir -p %s", dir, dir)
	}
	mode := fs.FileMode(0o644)
	info, statErr := os.Stat(path)
	if statErr == nil {
		mode = info.Mode().Perm()
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".lifeline-crontab-*")
	if err == nil {
		defer os.Remove(file.Name())
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Chmod(mode), file.Sync())
		if st, ok := sys(info); ok && err == nil {
			err = file.Chown(int(st.Uid), int(st.Gid))
		}
		if err = errors.Join(err, file.Close()); err == nil {
			err = os.Rename(file.Name(), path)
		}
	}
	if err == nil || statErr != nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func sys(info fs.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return st, ok
}

// state says, after a failure, what the crontab holds, and whether it is a whole text.
// It works even if ctx is done.
func (c Crontab) state(ctx context.Context, old, new string) (text string, whole bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	now, err := c.Read(ctx)
	switch {
	case err != nil:
		return "the crontab can't be read now", false
	case now == old:
		return "the crontab is unchanged", true
	case now == new:
		return "the crontab holds the new text", true
	case strings.HasPrefix(new, now):
		return "the crontab is damaged", false
	}
	return "the crontab holds another program's text", true
}

// keep writes text to a new file with mode 0600.
func keep(text string) (name string, err error) {
	file, err := os.CreateTemp("", "lifeline-crontab-*")
	if err == nil {
		_, err = file.WriteString(text)
		if err = errors.Join(err, file.Close()); err == nil {
			return file.Name(), nil
		}
		os.Remove(file.Name())
	}
	return "", fmt.Errorf("%w; make room in %s, or name another directory: TMPDIR=/var/tmp", err, os.TempDir())
}

func (c Crontab) run(ctx context.Context, stdin *os.File, action string) (stdout, stderr string, err error) {
	program := c.Program
	if program == "" {
		program = "crontab"
	}
	args := []string{action}
	if c.User != "" {
		args = []string{"-u", c.User, action}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	// Read matches English messages, and reads crontab -e through cat.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "VISUAL=cat", "EDITOR=cat")
	if stdin != nil {
		cmd.Stdin = stdin
	}
	var out, message strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &message
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = settle
	err = cmd.Run()
	switch said := strings.Join(strings.Fields(message.String()), " "); {
	case err == nil:
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("there is no program %s here (%w); install cron, such as with apt-get install cron", program,
			exec.ErrNotFound)
	case ctx.Err() != nil:
		err = fmt.Errorf("%s %s was stopped: %w", program, strings.Join(args, " "), context.Cause(ctx))
	case said != "":
		err = fmt.Errorf("%s %s: %s (%w)", program, strings.Join(args, " "), said, err)
	default:
		err = fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return out.String(), message.String(), err
}

func (c Crontab) of() string {
	switch {
	case c.File != "":
		return " " + c.File
	case c.User == "":
		return ""
	}
	return " of " + c.User
}

func (c Crontab) flag() string {
	if c.User == "" {
		return ""
	}
	return "-u " + c.User + " "
}
