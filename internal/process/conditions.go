package process

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"lifeline/internal/process/launch"
)

// Conditions holds the user, limits and priorities of a command.
type Conditions = launch.Conditions

// SetLimit reads NAME=N or NAME=SOFT:HARD, each a number or unlimited. The last value of
// a name counts.
func SetLimit(c *Conditions, text string) error {
	name, value, _ := strings.Cut(text, "=")
	known := slices.IndexFunc(launch.Resources[:], func(r launch.Resource) bool { return r.Name == name })
	if known < 0 {
		var names []string
		for _, r := range launch.Resources {
			names = append(names, r.Name)
		}
		return fmt.Errorf("it is NAME=N or NAME=SOFT:HARD, and NAME is one of %s", strings.Join(names, ", "))
	}
	resource := launch.Resources[known].Number
	soft, hard, two := strings.Cut(value, ":")
	if !two {
		hard = soft
	}
	l := launch.Limit{Resource: resource}
	for at, text := range map[*uint64]string{&l.Soft: soft, &l.Hard: hard} {
		n, err := strconv.ParseUint(text, 10, 63)
		switch {
		case text == "unlimited" || text == "infinity":
			n = math.MaxUint64
		case err != nil:
			return fmt.Errorf("%q is neither a number nor unlimited", text)
		}
		*at = n
	}
	if l.Soft > l.Hard {
		return fmt.Errorf("the soft limit is above the hard one")
	}
	c.Limits = append(slices.DeleteFunc(c.Limits, func(o launch.Limit) bool { return o.Resource == resource }), l)
	return nil
}

// SetUser sets the command's user and group by names or numbers; "" leaves each as it
// is. env has the user's variables, as login(1) sets them.
func SetUser(c *Conditions, name, group string) (env []string, err error) {
	if name == "" && group == "" {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("only root can run a command as another user or group; put the line into root's " +
			"crontab, or leave the option out")
	}
	as := &launch.User{UID: -1, GID: -1}
	if name != "" {
		if env, err = becomeUser(as, name, group); err != nil {
			return nil, err
		}
	}
	if group != "" {
		if as.GID, err = groupID(group); err != nil {
			return nil, err
		}
	}
	c.User = as
	return env, nil
}

// becomeUser fills in the ids of the user name. A number without an account is taken as
// in chown(1), but needs a group.
func becomeUser(as *launch.User, name, group string) (env []string, err error) {
	u, err := user.Lookup(name)
	if n, numErr := strconv.ParseUint(name, 10, 31); err != nil && numErr == nil {
		if u, err = user.LookupId(name); err != nil {
			if group == "" {
				return nil, fmt.Errorf("%s has no account here, and so no group: give --group too", name)
			}
			as.UID, as.Groups = int(n), []int{}
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("there is no user %s in /etc/passwd; a number is taken too, with --group", name)
	}
	as.UID, _ = strconv.Atoi(u.Uid)
	as.GID, _ = strconv.Atoi(u.Gid)
	ids, err := u.GroupIds() // initgroups(3)
	if err != nil {
		return nil, fmt.Errorf("cannot tell the groups of %s: %w", name, err)
	}
	as.Groups = []int{}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			as.Groups = append(as.Groups, n)
		}
	}
	return []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username}, nil
}

func groupID(group string) (int, error) {
	g, err := user.LookupGroup(group)
	if n, numErr := strconv.ParseUint(group, 10, 31); err != nil && numErr == nil {
		return int(n), nil
	}
	if err != nil {
		return 0, fmt.Errorf("there is no group %s in /etc/group", group)
	}
	return strconv.Atoi(g.Gid)
}
