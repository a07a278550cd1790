package launch

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Conditions holds the user, limits and priorities of a command that differ from its
// supervisor's own.
type Conditions struct {
	User   *User
	Limits []Limit
	Nice   *int // setpriority(2)
	OOM    *int // oom_score_adj, proc_pid_oom_score_adj(5)
}

// User holds the user and groups that the command runs as.
type User struct {
	UID    int   // -1: the supervisor's
	GID    int   // -1: the supervisor's
	Groups []int // supplementary groups; nil: the supervisor's
}

// Limit is a resource limit (getrlimit(2)).
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// Resource is a resource and its name in prlimit(1). The table [Resources] needs no
// initialisation at run time.
type Resource struct {
	Name   string
	Number int
}

// Any reports whether there is anything to do.
func (c Conditions) Any() bool {
	return c.User != nil || c.Limits != nil || c.Nice != nil || c.OOM != nil
}

// words returns the conditions as words for [Env].
func (c Conditions) words() (words []string) {
	if c.OOM != nil {
		words = append(words, "oom="+strconv.Itoa(*c.OOM))
	}
	if c.Nice != nil {
		words = append(words, "nice="+strconv.Itoa(*c.Nice))
	}
	for _, l := range c.Limits {
		words = append(words, "limit="+strconv.Itoa(l.Resource)+":"+strconv.FormatUint(l.Soft,
			10)+":"+strconv.FormatUint(l.Hard, 10))
	}
	if u := c.User; u != nil {
		word := "user=" + strconv.Itoa(u.UID) + ":" + strconv.Itoa(u.GID)
		if u.Groups != nil {
			word += ":"
			for i, g := range u.Groups {
				if i > 0 {
					word += ","
				}
				word += strconv.Itoa(g)
			}
		}
		words = append(words, word)
	}
	return words
}

var errWord = errors.New("not a word of a plan")

// take reads one word of words.
func (c *Conditions) take(key, value string) error {
	f := strings.Split(value, ":")
	switch {
	case key == "oom" || key == "nice":
		n, err := strconv.Atoi(value)
		if key == "oom" {
			c.OOM = &n
		} else {
			c.Nice = &n
		}
		return err
	case key == "limit" && len(f) == 3:
		resource, err := strconv.Atoi(f[0])
		soft, err2 := strconv.ParseUint(f[1], 10, 64)
		hard, err3 := strconv.ParseUint(f[2], 10, 64)
		c.Limits = append(c.Limits, Limit{resource, soft, hard})
		return errors.Join(err, err2, err3)
	case key == "user" && len(f) >= 2:
		uid, err := strconv.Atoi(f[0])
		gid, err2 := strconv.Atoi(f[1])
		c.User = &User{UID: uid, GID: gid}
		if err = errors.Join(err, err2); err != nil || len(f) == 2 {
			return err
		}
		c.User.Groups = []int{}
		for text := range strings.SplitSeq(f[2], ",") {
			g, err := strconv.Atoi(text)
			if err != nil && f[2] != "" {
				return err
			}
			if err == nil {
				c.User.Groups = append(c.User.Groups, g)
			}
		}
		return nil
	}
	return errWord
}

// apply sets the conditions on this process; the user comes last, because the others may
// need root.
func (c Conditions) apply() error {
	if c.OOM != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*c.OOM)), 0); err != nil {
			return errors.New("cannot set --oom-score-adj " + strconv.Itoa(*c.OOM) + ": " + because(err) +
				only("lower it", "CAP_SYS_RESOURCE"))
		}
	}
	if c.Nice != nil {
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, *c.Nice); err != nil {
			return errors.New("cannot set --nice " + strconv.Itoa(*c.Nice) + ": " + because(err) +
				only("lower it", "CAP_SYS_NICE"))
		}
	}
	for _, l := range c.Limits {
		if err := setLimit(l); err != nil {
			return errors.New("cannot set --limit " + nameOf(l.Resource) + ": " + because(err) +
				only("raise a hard limit (ulimit -H -a)", "CAP_SYS_RESOURCE"))
		}
	}
	if c.User == nil {
		return nil
	}
	again := deathSignal()
	if err := c.User.become(); err != nil {
		return err
	}
	return again()
}

func (u *User) become() error {
	if u.Groups != nil {
		if err := syscall.Setgroups(u.Groups); err != nil {
			return errors.New("cannot set the groups of --user: " + because(err))
		}
	}
	if u.GID >= 0 {
		if err := syscall.Setgid(u.GID); err != nil {
			return errors.New("cannot become --group " + strconv.Itoa(u.GID) + ": " + because(err))
		}
	}
	if u.UID >= 0 {
		if err := syscall.Setuid(u.UID); err != nil {
			return errors.New("cannot become --user " + strconv.Itoa(u.UID) + ": " + because(err))
		}
	}
	return nil
}

// only returns what permission is missing, as the end of a message. Root in a container
// may lack the capability (capabilities(7)).
func only(what, capability string) string {
	if os.Geteuid() == 0 {
		return "; root has no " + capability + " here, as in most containers: give it that, or leave the option out"
	}
	return "; only root may " + what
}

func because(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return err.Error()
}

func nameOf(resource int) string {
	for _, r := range Resources {
		if r.Number == resource {
			return r.Name
		}
	}
	return strconv.Itoa(resource)
}
