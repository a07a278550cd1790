package supervisor

import "lifeline/internal/process"

// groups keeps the supervisor's unused cgroups. Each living worker has a cgroup of its
// own, which a later worker uses again.
type groups struct {
	free []*process.Cgroup
	none bool // no cgroup can be made
}

func newCgroup(prefix string) *process.Cgroup {
	c, err := process.NewCgroup(prefix)
	if err != nil {
		return nil // the tree is found in other ways
	}
	return c
}

func (g *groups) take(make func() *process.Cgroup) *process.Cgroup {
	if n := len(g.free); n > 0 {
		c := g.free[n-1]
		g.free = g.free[:n-1]
		return c
	}
	if g.none {
		return nil
	}
	c := make()
	g.none = c == nil
	return c
}

// put takes a cgroup back. A cgroup with leftovers isn't used again.
func (g *groups) put(c *process.Cgroup) {
	switch {
	case c == nil:
	case c.Killed() || len(c.Members()) > 0:
		c.Remove() // fails while anything lives in the cgroup, which is then removed later
	default:
		g.free = append(g.free, c)
	}
}

func (g *groups) remove() {
	for _, c := range g.free {
		c.Remove()
	}
	g.free = nil
}
