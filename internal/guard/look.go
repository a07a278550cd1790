package guard

import (
	"errors"
	"os"

	"lifeline/procscan"
)

// Instance is what a census shows of a name.
type Instance struct {
	Name string
	Holder
	// Tree has the living processes of the name, the worker first.
	Tree []procscan.Process
	// Leftovers are the processes of Tree whose worker has ended.
	Leftovers []procscan.ID
}

// Alive reports whether the name has a supervisor or a worker, or has left
// processes running.
func (in Instance) Alive() bool { return in.Holder.Alive() || len(in.Tree) > 0 }

// Look takes one census for all the given names. The error says what /proc hides.
// The instances are returned beside an error too.
func (g Guard) Look(names ...string) ([]Instance, error) {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	list := make([]Instance, len(names))
	for i, name := range names {
		list[i].Name = name
	}
	d, err := findDir(g.Dir)
	if err != nil {
		return nil, err
	}
	// A missing directory may have been removed: the census shows what runs.
	if err := checkDir(d.path, g.AllowNFS); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	c := takeCensus(d)
	for i := range list {
		c.look(&list[i])
	}
	return list, c.blind
}

// look fills in what the census shows of one name.
func (c *census) look(in *Instance) {
	rec, known := readRecordAt(c.dir.run(in.Name))
	if c.table == nil {
		in.Holder = holderOf(c.dir, in.Name)
		return
	}
	s := c.of(in.Name, rec, known && rec.Searched)
	in.Worker, in.Generation, in.Leftovers = s.worker, s.generation, s.leftovers
	switch sup := procscan.ID(rec.Supervisor); {
	case known && c.table.Has(sup): // written by a supervisor that lives
		in.Supervisor = sup
	case !s.supervisor.Zero():
		in.Supervisor = s.supervisor
	default:
		if holders := c.lockFileHolders(in.Name); len(holders) > 0 {
			in.Supervisor = holders[0]
		}
	}
	in.Tree = c.descendants(s.members, in.Supervisor)
	if in.Generation == "" && known {
		in.Generation = rec.Generation
	}
}

// descendants lists the members, and every process below the members and below
// the supervisor. A process that shows nothing of the name is known by its parent.
func (c *census) descendants(members []member, supervisor procscan.ID) (tree []procscan.Process) {
	seen := map[int]bool{c.self.PID: true, supervisor.PID: true}
	var add func(p procscan.Process)
	add = func(p procscan.Process) {
		if seen[p.PID] {
			return
		}
		seen[p.PID] = true
		tree = append(tree, p)
		for _, child := range c.childrenOf(p.PID) {
			add(child)
		}
	}
	for _, m := range members {
		add(m.Process)
	}
	if c.table.Has(supervisor) {
		for _, child := range c.childrenOf(supervisor.PID) {
			add(child)
		}
	}
	return tree
}
