package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lifeline/install"
	"lifeline/internal/doctor"
	"lifeline/internal/human"
)

// account is a user of this machine.
type account struct {
	name, home string
	uid, gid   int
}

// accounts returns the users other than root who may use lifeline: a crontab line
// for them starts it, or they have a state directory.
func accounts() []account {
	named := map[string]bool{}
	files, _ := filepath.Glob("/etc/cron.d/*")
	for _, file := range append(files, "/etc/crontab") {
		text, _ := os.ReadFile(file)
		for _, l := range install.Entries(string(text), install.SystemTable) {
			named[l.User] = true
		}
	}
	for user := range doctor.Spooled() {
		named[user] = true
	}
	text, _ := os.ReadFile("/etc/passwd")
	var list []account
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 6 {
			continue
		}
		uid, uidErr := strconv.Atoi(f[2])
		gid, gidErr := strconv.Atoi(f[3])
		if uidErr != nil || gidErr != nil || uid == 0 {
			continue
		}
		if named[f[0]] || exists(filepath.Join(f[5], ".local/state/lifeline")) || exists("/var/tmp/lifeline-"+f[2]) {
			list = append(list, account{name: f[0], home: f[5], uid: uid, gid: gid})
		}
	}
	return list
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// standOfAll returns the status of every user's names. A process of each user's own
// looks at their names, because root must not open files that a user has prepared.
func (o *options) standOfAll(ctx context.Context, names []string) ([]instanceStatus, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root sees the names of other users; sudo lifeline status --all-users")
	}
	if o.guard.Dir != "" || o.guard.StateDir != "" {
		return nil, usage("--all-users looks where each user's names are: leave out --dir and --state-dir " +
			"(LIFELINE_DIR, LIFELINE_STATE_DIR)")
	}
	list, err := o.stand(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].User = userName()
	}
	for _, a := range accounts() {
		theirs, err := a.stand(ctx)
		if err != nil {
			say(os.Stderr, "", fmt.Sprintf("cannot look at the names of %s: %v; sudo -u %s lifeline status", a.name,
				err, a.name))
			continue
		}
		for i := range theirs {
			theirs[i].User = a.name
		}
		list = append(list, theirs...)
	}
	if len(names) == 0 {
		return list, nil
	}
	list = slices.DeleteFunc(list, func(s instanceStatus) bool { return !slices.Contains(names, s.Name) })
	for _, name := range names {
		if !slices.ContainsFunc(list, func(s instanceStatus) bool { return s.Name == name }) {
			list = append(list, instanceStatus{Name: name, State: stateDown, Status: "no user has a name like that"})
		}
	}
	return list, nil
}

// stand returns the status of the account's names, from a lifeline that runs as that user.
func (a account) stand(ctx context.Context) (list []instanceStatus, err error) {
	out, err := a.lifeline(ctx, "status", "--json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("what was answered can't be read: %w", err)
	}
	return list, nil
}

// lifeline returns what a lifeline with these arguments prints that runs as the account's
// user. Its exit code 1 is no error, because doctor's answer has it.
func (a account) lifeline(ctx context.Context, args ...string) (answer []byte, err error) {
	self := "/proc/self/exe" // reached even where the user may not enter its directory
	if runtime.GOOS != "linux" {
		if self, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var out, said bounded // bounded, because the user controls that process
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = "lifeline"
	cmd.Env = []string{"PATH=" + install.CronDPath, "HOME=" + a.home, "LOGNAME=" + a.name}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &out, &said
	cmd.WaitDelay = time.Second // for its children that still have the output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid),
		Groups: a.groups()}}
	if err := cmd.Run(); err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1) {
		if text := strings.TrimSpace(said.String()); text != "" {
			return nil, errors.New(human.Printable(strings.TrimPrefix(text, "lifeline: ")))
		}
		return nil, err
	}
	return out.Bytes(), nil
}

// groups returns the account's groups, from id(1).
func (a account) groups() (ids []uint32) {
	out, _ := exec.Command("id", "-G", "--", a.name).Output()
	for _, word := range strings.Fields(string(out)) {
		if id, err := strconv.ParseUint(word, 10, 32); err == nil {
			ids = append(ids, uint32(id))
		}
	}
	return ids
}

// examine prints what doctor finds as the account's user, under a heading with the user's
// name. It returns the number of faults, and whether something shows that cron starts what
// has none.
func (a account) examine(ctx context.Context, out io.Writer, name string) (faults int, isSeen bool, err error) {
	args := []string{"doctor"}
	if name != "" {
		args = append(args, name)
	}
	answer, err := a.lifeline(ctx, args...)
	if err != nil {
		return 0, false, err
	}
	begun, last := false, ""
	theirs := strings.NewReplacer("your crontab", "the crontab of "+a.name, "crontab -e", "crontab -u "+a.name+" -e")
	asThem := regexp.MustCompile(`lifeline [a-z]+ (-|` + regexp.QuoteMeta(name) + `)`)
	for line := range strings.Lines(string(answer)) {
		line = human.Printable(strings.TrimSuffix(line, "\n"))
		line = asThem.ReplaceAllString(theirs.Replace(line), "sudo -u "+a.name+" $0")
		last = line
		isFinding := strings.HasPrefix(line, "ok  ") || strings.HasPrefix(line, "WRONG") || strings.HasPrefix(line, "   ")
		switch {
		case !isFinding && !strings.Contains(line, " "): // a heading; the last line is a sentence
			begun = true
			fmt.Fprintf(out, "%s: %s\n", a.name, line)
		case isFinding && begun:
			fmt.Fprintln(out, line)
			if strings.HasPrefix(line, "WRONG") {
				faults++
			}
		}
	}
	return faults, faults > 0 || last == allIsWell || strings.HasPrefix(last, wellAsSeen), nil
}

// maxAnswer is in bytes, and more than the status of thousands of names takes.
const maxAnswer = 16 << 20

// bounded keeps what is written, up to maxAnswer.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxAnswer {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return b.Buffer.Write(p)
}
