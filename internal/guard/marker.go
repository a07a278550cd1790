package guard

import (
	"fmt"
	"strconv"

	"lifeline/procscan"
)

// The marker: what the environment of a worker says of it. Everybody who may
// read a process's environment can see whose it is, whatever became of the
// files. Descendants inherit all of it, so being marked means only "of this
// name"; the worker itself is the one whose own pid and start time stand there.
const (
	EnvName  = "LIFELINE_NAME"  // the name
	EnvSpace = "LIFELINE_SPACE" // the state directory: names of two directories never meet
	EnvID    = "LIFELINE_ID"    // the generation
	EnvStub  = "LIFELINE_STUB"  // until the stub becomes the command; see announces
	EnvPID   = "LIFELINE_PID"   // the worker's own pid, from then on
	EnvStart = "LIFELINE_START" // and its start time, raw: a pid alone is reused

	EnvSupervisor = "LIFELINE_SUPERVISOR" // pid:start of who started it
)

// supervisor is who started p: itself with --exec.
func supervisor(p procscan.Process) (id procscan.ID, ok bool) {
	for _, text := range []string{p.Env[EnvSupervisor], p.Env[EnvStub]} {
		if n, err := fmt.Sscanf(text, "%d:%d", &id.PID, &id.Start); err == nil && n == 2 {
			return id, true
		}
	}
	return procscan.ID{}, false
}

// announces reports a supervisor that shows the marker of a stub for its
// child's sake: one that is started without a program of its own shares its
// memory until it is the command, and so whatever others see there. EnvStub
// says who shows it for another: pid:start.
func announces(p procscan.Process) bool {
	return p.Env[EnvStub] == fmt.Sprintf("%d:%d", p.PID, p.Start)
}

// primary reports whether p is the worker itself, not a descendant of it.
func primary(p procscan.Process) bool {
	return p.Env[EnvStub] == "" &&
		p.Env[EnvPID] == strconv.Itoa(p.PID) &&
		p.Env[EnvStart] == strconv.FormatUint(p.Start, 10)
}

// marked lists the processes of one name in one directory.
func marked(name, space string) (procscan.Table, error) {
	t, err := procscan.Marked(EnvName, name)
	kept := t.Processes[:0]
	for _, p := range t.Processes {
		if p.Env[EnvSpace] == space && !announces(p) {
			kept = append(kept, p)
		}
	}
	t.Processes = kept
	return t, err
}

// unmarked reports whether id shows nothing of the name in its environment.
func unmarked(id procscan.ID, name string) bool {
	env, err := procscan.Environ(id)
	return err == nil && env[EnvName] != name
}
