package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"lifeline/install"
	"lifeline/procscan"
)

// Crond is a cron daemon, running or only installed.
type Crond struct {
	id      procscan.ID // zero when the daemon doesn't run
	program string      // its path; a bare name when the path is unknown
	busybox bool
	bcron   bool
	atKills bool // see install.Line.BusyboxProblem
	systemd bool // systemd itself, with systemd-cron's generator

	halted, revival string // see halted
}

// cronNames are the names of cron daemons: Debian's and the BSDs'; cronie's, busybox's
// and dcron's; fcron's; bcron's.
var cronNames = []string{"cron", "crond", "fcron", "bcron-start", "bcron-sched"}

const cronDirs = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin"

// RunningCronds finds root's cron daemons in the process table, because only root's
// daemon starts all users' jobs.
func RunningCronds() ([]Crond, error) {
	pids, err := procscan.Pids()
	if err != nil {
		return nil, fmt.Errorf("cannot read the process table: %w", err)
	}
	found := map[int]procscan.Stat{}
	for _, pid := range pids {
		s, err := procscan.Lookup(pid)
		if err != nil || s.Dead() || !slices.Contains(cronNames, cronName(s)) || !belongsToRoot(pid) || isJobs(s) ||
			inContainer(pid) {
			continue
		}
		found[pid] = s
	}
	var list []Crond
	for _, s := range found {
		if _, child := found[s.PPID]; child {
			continue // forked for a job, before it becomes the shell
		}
		c := newCrond(s.ID, programOf(s))
		c.halted, c.revival = halted(s)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Crond) int { return a.id.PID - b.id.PID })
	return list, nil
}

func belongsToRoot(pid int) bool {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return runtime.GOOS != "linux" // unknown without /proc
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid == 0
}

// isJobs reports whether cron has forked s to wait for a job; such a process outlives a
// killed daemon. Vixie's crons write its name in capitals (do_command.c).
func isJobs(s procscan.Stat) bool {
	_, command := procscan.Describe(s.ID)
	word, _, _ := strings.Cut(command, " ")
	name := filepath.Base(word)
	return name != strings.ToLower(name) && slices.Contains(cronNames, strings.ToLower(name))
}

// inContainer reports whether pid is in a pid namespace below this process's, where cron
// reads other crontabs.
func inContainer(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(ids)) > 1
		}
	}
	return false
}

// ignoresFiles reports whether one bad line makes the daemon ignore the whole file, as
// with Debian's cron and Vixie's.
func ignoresFiles(list []Crond) bool {
	return !slices.ContainsFunc(list, func(d Crond) bool { return filepath.Base(d.program) != "cron" })
}

// cronie reports whether the daemon ignores only a bad line itself, and is neither
// busybox's nor systemd.
func cronie(list []Crond) bool {
	return len(list) > 0 && !ignoresFiles(list) && !slices.ContainsFunc(list,
		func(d Crond) bool { return d.busybox || d.systemd })
}

// KnowsZones reports whether the cron daemon here knows CRON_TZ, as cronie does. It looks
// once: a crontab may have hundreds of such lines.
var KnowsZones = sync.OnceValue(func() bool {
	list, err := RunningCronds()
	if err != nil || len(list) == 0 {
		list = InstalledCronds()
	}
	return cronie(list)
})

// cronName returns the name that s runs under; for `busybox crond` the second word.
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

// programOf returns the path of s's program. The kernel tells the path only to the owner
// and root; for others it is looked up by the first word of the command line.
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

func newCrond(id procscan.ID, program string) Crond {
	d := Crond{id: id, program: program}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		real = program
	}
	d.bcron = strings.HasPrefix(filepath.Base(program), "bcron-")
	d.busybox = strings.HasPrefix(filepath.Base(real), "busybox")
	if d.busybox {
		help, _ := exec.Command(real, "crond", "--help").CombinedOutput()
		d.atKills = !strings.Contains(string(help), "-d N")
	}
	return d
}

// InstalledCronds returns the daemons that could be started.
func InstalledCronds() []Crond {
	var list []Crond
	for _, name := range cronNames {
		if path := findProgram(name, cronDirs); path != "" {
			list = append(list, newCrond(procscan.ID{}, path))
		}
	}
	return list
}

// LesserCrond returns the cron daemon if the only one is busybox's or bcron, which accept
// less than others.
func LesserCrond() (Crond, bool) {
	list, err := RunningCronds()
	if err != nil || len(list) == 0 {
		list = InstalledCronds()
	}
	return lesserOf(list)
}

func lesserOf(list []Crond) (Crond, bool) {
	if len(list) == 0 || !list[0].busybox && !list[0].bcron || slices.ContainsFunc(list, func(d Crond) bool {
		return d.busybox != list[0].busybox || d.bcron != list[0].bcron
	}) {
		return Crond{}, false
	}
	return list[0], true
}

// ReadsCronD reports whether the daemon reads /etc/cron.d.
func (d Crond) ReadsCronD() bool { return !d.busybox }

// Problem returns what the daemon does wrong with l; "" for nothing. bcron knows no @
// word (crontab.c of 0.11, parse_job).
func (d Crond) Problem(l install.Line) string {
	switch {
	case d.busybox:
		return l.BusyboxProblem(d.atKills)
	case d.bcron && strings.HasPrefix(l.Schedule, "@"):
		return fmt.Sprintf("bcron passes over a line that begins with %s", l.Schedule)
	}
	return ""
}

// Advice returns what to write instead of a line that has a Problem.
func Advice(line install.Line) string {
	if strings.HasPrefix(line.Schedule, "@") {
		return "give the schedule in five fields, such as '0 * * * *'"
	}
	return "put the command into a script, and give that"
}
