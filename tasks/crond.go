package tasks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"lifeline/install"
	"lifeline/procscan"
)

// crond is a cron daemon, running or only installed.
type crond struct {
	id      procscan.ID // zero when it doesn't run
	program string      // its path; a bare name when that can't be told
	busybox bool
	atKills bool // see install.Line.BusyboxProblem
	stopped bool // by SIGSTOP
}

// cronNames are what cron daemons call themselves: Debian's and the BSDs',
// cronie's and busybox's and dcron's, fcron, bcron.
var cronNames = []string{"cron", "crond", "fcron", "bcron-start", "bcron-sched"}

const cronDirs = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin"

// runningCronds looks for the daemons in the process table: root's, because
// nobody else's starts jobs for everybody.
func runningCronds() ([]crond, error) {
	pids, err := procscan.Pids()
	if err != nil {
		return nil, fmt.Errorf("cannot read the process table: %w", err)
	}
	found := map[int]procscan.Stat{}
	for _, pid := range pids {
		s, err := procscan.Lookup(pid)
		if err != nil || s.Dead() || !belongsToRoot(pid) || !slices.Contains(cronNames, cronName(s)) {
			continue
		}
		found[pid] = s
	}
	var list []crond
	for _, s := range found {
		if _, child := found[s.PPID]; child {
			continue // a job's, before it becomes the shell
		}
		c := newCrond(s.ID, programOf(s))
		c.stopped = s.Stopped()
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b crond) int { return a.id.PID - b.id.PID })
	return list, nil
}

func belongsToRoot(pid int) bool {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return runtime.GOOS != "linux" // no /proc to ask
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid == 0
}

// cronName is the name that s runs under; of `busybox crond` the second word.
func cronName(s procscan.Stat) string {
	name := s.Comm
	if name == "" || name == "busybox" {
		_, command := procscan.Describe(s.ID)
		words := strings.Fields(command)
		if len(words) > 1 && strings.HasPrefix(filepath.Base(words[0]), "busybox") {
			words = words[1:]
		}
		if len(words) > 0 {
			name = filepath.Base(words[0])
		}
	}
	return name
}

// programOf asks the kernel, which tells only its owner and root; else it is
// the first word of the command line, looked up.
func programOf(s procscan.Stat) string {
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.PID)); err == nil {
		return exe
	}
	_, command := procscan.Describe(s.ID)
	word, _, _ := strings.Cut(command, " ")
	if word == "" {
		word = s.Comm
	}
	if filepath.IsAbs(word) {
		return word
	}
	if path := findProgram(filepath.Base(word), cronDirs); path != "" {
		return path
	}
	return word
}

func findProgram(name, dirs string) string {
	for _, dir := range filepath.SplitList(dirs) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

func newCrond(id procscan.ID, program string) crond {
	d := crond{id: id, program: program}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		real = program
	}
	d.busybox = strings.HasPrefix(filepath.Base(real), "busybox")
	if d.busybox {
		help, _ := exec.Command(real, "crond", "--help").CombinedOutput()
		d.atKills = !strings.Contains(string(help), "-d N")
	}
	return d
}

// installedCronds are those that could be started.
func installedCronds() []crond {
	var list []crond
	for _, name := range cronNames {
		if path := findProgram(name, cronDirs); path != "" {
			list = append(list, newCrond(procscan.ID{}, path))
		}
	}
	return list
}

// onlyBusybox gives the cron daemon if it is busybox's, and there is no other.
func onlyBusybox() (crond, bool) {
	list, err := runningCronds()
	if err != nil || len(list) == 0 {
		list = installedCronds()
	}
	return onlyBusyboxOf(list)
}

func onlyBusyboxOf(list []crond) (crond, bool) {
	if len(list) == 0 || slices.ContainsFunc(list, func(d crond) bool { return !d.busybox }) {
		return crond{}, false
	}
	return list[0], true
}

// suitBusybox keeps out of the crontab what that daemon can't bear.
func (k *cronOptions) suitBusybox(o *options) error {
	d, only := onlyBusybox()
	if !only {
		return nil
	}
	if k.cronD {
		return usage("%s: the cron daemon here is busybox's, which doesn't read /etc/cron.d: leave out --cron-d", o.name)
	}
	e := &k.entry
	if asked := (install.Line{Schedule: e.Schedule}); asked.BusyboxProblem(d.atKills) != "" {
		return usage("%s: %s: %s", o.name, asked.BusyboxProblem(d.atKills), busyboxAdvice(asked))
	}
	if d.atKills && e.Reboot {
		o.warn("without the @reboot line, of which the busybox crond here dies: the next minute after a boot starts it")
		e.Reboot = false
	}
	text, err := install.Add("", *e)
	if err != nil {
		return nil // it is going to be said
	}
	for _, line := range install.Entries(text, false) {
		if problem := line.BusyboxProblem(d.atKills); problem != "" {
			return usage("%s: %s: %s", o.name, problem, busyboxAdvice(line))
		}
	}
	return nil
}

func busyboxAdvice(line install.Line) string {
	if strings.HasPrefix(line.Schedule, "@") {
		return "give the schedule in five fields, such as '0 * * * *'"
	}
	return "put the command into a script, and give that"
}
