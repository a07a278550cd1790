// Record renews the output in docs/sessions.md. It types the text after each "$ " of the
// page into a terminal (tmux), and replaces the old output by what the terminal shows. The
// terminal runs in a machine of its own (namespaces, Linux, root). To show another command,
// write a block with the line to be typed, and run `make docs`.
//
// The text of a comment <!-- run: … --> is typed too, but not shown. A comment such as
// <!-- size: 80x24 --> sets the terminal's size, which is 110x300 at first. A test records
// again and compares, so that the page shows what the program does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"lifeline/proof/build"
	"lifeline/proof/engine"
)

func main() {
	page := flag.String("page", "docs/sessions.md", "the `file` to record")
	flag.Parse()
	if err := update(*page); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func update(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	fresh, err := record(string(text))
	if err != nil {
		return err
	}
	if masked(fresh) == masked(string(text)) {
		return nil // only times and pids differ: the page stays
	}
	return os.WriteFile(page, []byte(fresh), 0o644)
}

// setting is the script that makes the machine. It hides what lifeline would touch, and
// has what the sessions need. A cron daemon that never ticks replaces the real daemon,
// because a tick during a session would show.
const setting = `
set -e
dir=$1
ip link set lo up
for d in /run /srv /var/lib /usr/local/bin /var/spool/cron /etc/cron.d; do mount -t tmpfs -o mode=755 none $d; done
mkdir /var/spool/cron/crontabs /srv/web
chgrp crontab /var/spool/cron/crontabs && chmod 1730 /var/spool/cron/crontabs
cp "$dir/lifeline" "$dir/lifeline-remote" "$dir/etcd" /usr/local/bin/
cp "$(command -v sleep)" "$dir/cron"
mount --bind "$dir/cron" /usr/sbin/cron
cat >/srv/web/server <<'X'
#!/bin/sh
echo "serving on port 8080"
exec sleep 86400
X
cat >/srv/web/billing <<'X'
#!/bin/sh
echo "42 lines counted"
X
chmod +x /srv/web/*
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/cron 86400 &
cd /srv/web
cat >"$dir/rc" <<X
PS1='$ '
PROMPT_COMMAND='echo x >>$dir/prompts'
set +m
X
env -i TERM=screen LC_ALL=C.UTF-8 TZ=UTC HOME=/root NO_COLOR=1 PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	tmux -S "$dir/tmux" -f /dev/null new-session -d -x 110 -y 300 bash --rcfile "$dir/rc"
touch "$dir/ready"
exec sleep 86400
`

// record returns the page with what the terminal shows now.
func record(page string) (string, error) {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for name, from := range map[string]string{"lifeline": ".", "lifeline-remote": "./cmd/lifeline-remote"} {
		if err := build.One(filepath.Join(dir, name), from, "urfave_cli_no_docs,osusergo,netgo"); err != nil {
			return "", err
		}
	}
	etcd, err := engine.Find("LIFELINE_ETCD", "etcd")
	if err != nil {
		return "", fmt.Errorf("%w (make etcd builds it)", err)
	}
	if err := os.Symlink(etcd, filepath.Join(dir, "etcd")); err != nil {
		return "", err
	}
	machine := exec.Command("unshare", "--mount", "--propagation", "private", "--net", "--pid",
		"--fork", "--kill-child",
		"--mount-proc", "sh", "-c", setting, "sh", dir)
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		return "", err
	}
	defer said.Close()
	machine.Stdout, machine.Stderr = said, said
	if err := machine.Start(); err != nil {
		return "", fmt.Errorf("cannot make namespaces: %w", err)
	}
	over := make(chan error, 1)
	go func() { over <- machine.Wait() }()
	defer func() {
		_ = machine.Process.Kill() // also ends everything in it (--kill-child)
		<-over
	}()
	term := &terminal{dir: dir}
	if err := term.await("the machine", func() (bool, error) {
		_, err := os.Stat(filepath.Join(dir, "ready"))
		return err == nil, nil
	}); err != nil {
		text, _ := os.ReadFile(said.Name())
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return term.play(page)
}

// play types the lines of the page, and returns the page with the new output.
func (t *terminal) play(page string) (string, error) {
	if err := t.prompt(1); err != nil {
		return "", err
	}
	var out strings.Builder
	inBlock := false
	for line := range strings.Lines(page) {
		bare := strings.TrimRight(line, "\n")
		hidden, isHidden := strings.CutPrefix(bare, "<!-- run: ")
		size, isSize := strings.CutPrefix(bare, "<!-- size: ")
		switch {
		case isSize:
			width, height, _ := strings.Cut(strings.TrimSuffix(size, " -->"), "x")
			if _, err := t.tmux("resize-window", "-x", width, "-y", height); err != nil {
				return "", err
			}
		case isHidden:
			if _, err := t.types(strings.TrimSuffix(hidden, " -->")); err != nil {
				return "", err
			}
		case bare == "```console":
			inBlock = true
		case bare == "```":
			inBlock = false
		case inBlock && strings.HasPrefix(bare, "$ "):
			shown, err := t.types(bare[2:])
			if err != nil {
				return "", err
			}
			line = line + shown
		case inBlock:
			continue // the old output
		}
		out.WriteString(line)
	}
	return out.String(), nil
}

// terminal is a shell in tmux.
type terminal struct {
	dir     string
	prompts int
}

func (t *terminal) tmux(args ...string) (string, error) {
	out, err := exec.Command("tmux", append([]string{"-S", filepath.Join(t.dir, "tmux")}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %q: %w: %s", args, err, out)
	}
	return string(out), nil
}

// types types the line, and returns what the terminal shows up to the next prompt.
func (t *terminal) types(line string) (string, error) {
	if _, err := t.tmux("send-keys", "-l", "clear"); err != nil {
		return "", err
	}
	if _, err := t.tmux("send-keys", "Enter"); err != nil {
		return "", err
	}
	if err := t.prompt(t.prompts + 1); err != nil {
		return "", err
	}
	if _, err := t.tmux("clear-history"); err != nil {
		return "", err
	}
	if _, err := t.tmux("send-keys", "-l", line); err != nil {
		return "", err
	}
	if _, err := t.tmux("send-keys", "Enter"); err != nil {
		return "", err
	}
	if err := t.prompt(t.prompts + 1); err != nil {
		return "", fmt.Errorf("%w after %q", err, line)
	}
	screen, err := t.tmux("capture-pane", "-p", "-J")
	if err != nil {
		return "", err
	}
	// The first line is what was typed, if the screen is high enough; the last line is
	// the next prompt.
	shown := screen
	if strings.HasPrefix(screen, "$ ") {
		_, shown, _ = strings.Cut(screen, "\n")
	}
	shown = strings.TrimRight(shown, " \n")
	shown = strings.TrimSuffix(shown, "$")
	var out strings.Builder
	for l := range strings.Lines(shown) {
		out.WriteString(strings.TrimRight(l, " \n") + "\n")
	}
	return out.String(), nil
}

// prompt waits until the n-th prompt is on the screen.
func (t *terminal) prompt(n int) error {
	err := t.await(fmt.Sprintf("prompt %d", n), func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(t.dir, "prompts"))
		if err != nil && !errors.Is(err, os.ErrNotExist) || strings.Count(string(text), "\n") < n {
			return false, nil
		}
		screen, err := t.tmux("capture-pane", "-p")
		screen = strings.TrimRight(screen, " \n")
		return screen == "$" || strings.HasSuffix(screen, "\n$"), err
	})
	t.prompts = n
	return err
}

func (t *terminal) await(what string, ok func() (bool, error)) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if is, err := ok(); is || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s didn't come within a minute", what)
		}
	}
}

// masks match the texts that differ between recordings. A longer text moves the columns
// after it, so several blanks count as one.
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`(holds it +TIME +)\d+`), "${1}FENCE"},
	{regexp.MustCompile(`(?m)^lifeline(,| v).* go1\..*$`), "VERSION"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?(ms|µs|s|m|h|d))+\b`), "LONG"},
	{regexp.MustCompile(`\b\d+(\.\d+)?[KMG]\b`), "SIZE"},
	{regexp.MustCompile(`\b\d+(\.\d+)?%`), "PART"},
	{regexp.MustCompile(`\bpid \d+`), "pid PID"},
	{regexp.MustCompile(`(?m)^(\S+ +(?:running|ready|stopping|starting) +)\d+`), "${1}PID"},
	{regexp.MustCompile(`(?m)^(lifeline_\S+(?:\{.*\})?) [0-9.e+-]+$`), "$1 NUMBER"},
	{regexp.MustCompile(`\bpid="\d+"`), `pid="PID"`},
	{regexp.MustCompile(`\d{3,}(\.\d+)?`), "NUMBER"},
	{regexp.MustCompile(`[█▌·▏▎▍▋▊▉▁▂▃▄▅▆▇]+`), "BAR"},
	{regexp.MustCompile(` +`), " "},
}

func masked(page string) string {
	var out strings.Builder
	inBlock := false
	for line := range strings.Lines(page) {
		inBlock = inBlock && strings.TrimSpace(line) != "```" || strings.TrimSpace(line) == "```console"
		if inBlock && !strings.HasPrefix(line, "$ ") {
			for _, m := range masks {
				line = m.what.ReplaceAllString(line, m.with)
			}
		}
		out.WriteString(line)
	}
	return out.String()
}
