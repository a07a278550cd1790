package guard

import (
	"errors"
	"os"

	"lifeline/procscan"
)

// Instance is what can be seen of a name, by the files and the process table.
type Instance struct {
	Name string
	Holder
	// Tree are the processes that carry the name's marker, the worker among
	// them; none is dead.
	Tree []procscan.Process
}

// Look sees all the given names at once, with a single look through the
// process table. Whatever of it can't be seen, because /proc hides it, the
// error says; the rest is given all the same.
func (g Guard) Look(names ...string) ([]Instance, error) {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	path := g.Dir
	if path == "" {
		path = DefaultDir()
	}
	list := make([]Instance, len(names))
	for i, name := range names {
		list[i].Name = name
	}
	if err := checkDir(path, g.AllowNFS); errors.Is(err, os.ErrNotExist) {
		return list, nil
	} else if err != nil {
		return nil, err
	}
	d, err := openDir(g.Dir, g.AllowNFS)
	if err != nil {
		return nil, err
	}
	table, blind := procscan.Marked(EnvSpace, d.space)
	for i := range list {
		in := &list[i]
		in.Holder = holderOf(d, in.Name)
		supervisors := procscan.LockHolders(d.lock(in.Name))
		for _, p := range table.Processes {
			if p.Env[EnvName] != in.Name || announces(p) || !trusted(p, in.Generation, supervisors) {
				continue
			}
			in.Tree = append(in.Tree, p)
			if in.Worker.Zero() && primary(p) {
				in.Worker, in.Generation = p.ID, p.Env[EnvID]
			}
		}
		if !in.Worker.Alive() {
			in.Worker = procscan.ID{}
		}
	}
	return list, blind
}
