package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/internal/identity"
	"lifeline/procscan"
	"lifeline/proof/await"
)

// TestDoPutsBack checks that removed files are put back, locked and with a record.
func TestDoPutsBack(t *testing.T) {
	for name, remove := range map[string]func(d dir) error{
		"lock":      func(d dir) error { return os.Remove(d.lock("job")) },
		"run":       func(d dir) error { return os.Remove(d.run("job")) },
		"both":      func(d dir) error { return errors.Join(os.Remove(d.lock("job")), os.Remove(d.run("job"))) },
		"directory": func(d dir) error { _ = os.RemoveAll(d.path); return nil }, // fails when a file is put back meanwhile
		"replaced": func(d dir) error {
			return errors.Join(os.WriteFile(d.path+"/new", nil, 0o600), os.Rename(d.path+"/new", d.lock("job")))
		},
		"moved": func(d dir) error { return os.Rename(d.path, d.path+"-moved") },
	} {
		t.Run(name, func(t *testing.T) {
			d := dir{path: stateDir(t)}
			p, said := start(t, d.path)
			if said != "runs" {
				t.Fatal(said)
			}
			before := inodes(d)
			for range 3 {
				// A file that is open keeps its inode's number from being used again.
				for _, path := range []string{d.lock("job"), d.run("job")} {
					f, err := os.Open(path)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
				}
				if err := remove(d); err != nil {
					t.Fatal(err)
				}
				await.That(t, "held again", func() bool {
					f, err := os.Open(d.run("job"))
					if err != nil {
						return false
					}
					defer f.Close()
					r, err := readRecord(f)
					return err == nil && r.Worker.PID == p.Process.Pid && locks(t, p.Process.Pid, inodes(d))
				})
				if after := inodes(d); after == before {
					t.Fatal("nothing was removed")
				} else {
					before = after
				}
				if name == "moved" {
					break
				}
			}
			wantHeld(t, Guard{Dir: d.path}.Do(t.Context(), "job", nil), p.Process.Pid)
			p.end()
			if err := (Guard{Dir: d.path}).Do(t.Context(), "job",
				func(context.Context, *Hold) error { return nil }); err != nil {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// locks reports whether pid has a flock on each of the files. It tries no lock itself,
// because that would disturb the program that puts the files back.
func locks(t *testing.T, pid int, files [2]uint64) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	for _, ino := range files {
		held := false
		for line := range strings.Lines(string(text)) {
			held = held ||
				strings.Contains(line, fmt.Sprintf("FLOCK  ADVISORY  WRITE %d ", pid)) &&
					strings.Contains(line, fmt.Sprintf(":%d ", ino))
		}
		if !held {
			return false
		}
	}
	return true
}

func inodes(d dir) (ino [2]uint64) {
	for i, path := range []string{d.lock("job"), d.run("job")} {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			ino[i] = st.Ino
		}
	}
	return ino
}

// TestHolderOfEarlierBoot checks that a record of an earlier boot, or of another pid
// namespace, names no living process, even if its pids are reused.
func TestHolderOfEarlierBoot(t *testing.T) {
	g := Guard{Dir: stateDir(t)}
	if err := g.Do(t.Context(), "job", func(context.Context, *Hold) error { return nil }); err != nil {
		t.Fatal(err)
	}
	d := dir{path: g.Dir}
	self := identity.ID(procscan.Self())
	now := identity.Record{
		Boot:         procscan.BootID(),
		PIDNamespace: procscan.PIDNamespace(),
		Supervisor:   self,
		Worker:       self,
		Searched:     true,
	}
	boot, space, process := now, now, now
	boot.Boot, space.PIDNamespace = "another", 1
	process.Supervisor, process.Worker = identity.ID{}, identity.ID{PID: self.PID, Start: self.Start + 1}
	for name, tt := range map[string]struct {
		r    identity.Record
		held bool
	}{
		"now":             {now, true},
		"another boot":    {boot, false},
		"another pid ns":  {space, false},
		"another process": {process, false},
	} {
		f, err := os.OpenFile(d.run("job"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		writeRecord(f, tt.r)
		f.Close()
		if h, ok, err := g.Holder("job"); ok != tt.held || err != nil {
			t.Errorf("%s: %+v, %t, %v", name, h, ok, err)
		}
	}
}

// TestHolderWithoutRecord checks that without a record the holder of the lock file is
// found, by every path to the directory.
func TestHolderWithoutRecord(t *testing.T) {
	dir := stateDir(t)
	p, said := start(t, dir)
	if said != "runs" {
		t.Fatal(said)
	}
	if err := os.Truncate(dir+"/"+identity.RunFile("job"), 0); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(dir), link); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{dir, filepath.Join(link, "state"), dir + "/../state/."} {
		if h, ok, err := (Guard{Dir: way}).Holder("job"); !ok || h.Supervisor.PID != p.Process.Pid || err != nil {
			t.Errorf("%s: %+v, %t, %v", way, h, ok, err)
		}
	}
}

func TestNames(t *testing.T) {
	g := Guard{Dir: stateDir(t)}
	if names, err := g.Names(); names != nil || err != nil {
		t.Errorf("without a directory: %q, %v", names, err)
	}
	for _, name := range []string{"b", "a-1", "app"} {
		if err := g.Do(t.Context(), name, func(context.Context, *Hold) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"x.lock", "app-000000000000.lock", ".lock", "app-e74fa719056a.run.5"} {
		if err := os.WriteFile(filepath.Join(g.Dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := g.Names(); strings.Join(names, " ") != "a-1 app b" || err != nil {
		t.Errorf("%q, %v", names, err)
	}
}

// TestLaunchBeside checks that a reload announces its start, and that it starts no
// worker after another supervisor has made and locked new files.
func TestLaunchBeside(t *testing.T) {
	g := Guard{Dir: stateDir(t)}
	err := g.Do(t.Context(), "job", func(ctx context.Context, h *Hold) error {
		_, err := h.LaunchBeside(ctx, procscan.Self(), func() (procscan.ID, error) {
			s, err := procscan.Lookup(os.Getpid())
			if s.Comm != identity.Announcement(h.dir.space, "job") {
				t.Errorf("the main thread's name is %q during a start", s.Comm)
			}
			return s.ID, err
		})
		if err != nil {
			return err
		}
		other, err := os.OpenFile(h.dir.path+"/new", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		defer other.Close()
		if err := errors.Join(flockNow(other), os.Rename(other.Name(), h.dir.lock("job"))); err != nil {
			return err
		}
		_, err = h.LaunchBeside(ctx, procscan.Self(), func() (procscan.ID, error) {
			t.Error("it started one although another supervisor has the lock file")
			return procscan.ID{}, nil
		})
		if !errors.Is(err, ErrHeld) {
			t.Errorf("%v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestWithoutOwn checks which workers a reload's election takes for its own.
func TestWithoutOwn(t *testing.T) {
	h := &Hold{generation: "adopted"}
	id := func(pid int) procscan.ID { return procscan.ID{PID: pid, Start: 1} }
	of := func(pid int, generation string, supervisor procscan.ID) member {
		m := member{marker: identity.Marker{Generation: generation, Supervisor: identity.ID(supervisor)}}
		m.ID = id(pid)
		return m
	}
	members := []member{of(1, "old", procscan.Self()), of(2, "adopted", id(99)),
		of(3, "other", id(98)), of(4, "", id(0))}
	for name, tt := range map[string]struct {
		worker int
		second []procscan.ID
		left   procscan.ID
	}{
		"none":                      {0, nil, procscan.ID{}},
		"this supervisor's":         {1, nil, procscan.ID{}},
		"adopted":                   {2, []procscan.ID{id(1)}, procscan.ID{}},
		"the worker without marker": {4, nil, procscan.ID{}},
		"another's":                 {3, nil, id(3)},
		"another's beside its own":  {1, []procscan.ID{id(3)}, id(3)},
		"unknown":                   {5, nil, id(5)},
	} {
		s := sighting{members: members, second: tt.second, leftovers: []procscan.ID{id(6)}}
		if tt.worker > 0 {
			s.worker = id(tt.worker)
		}
		if got := h.withoutOwn(s, id(4)); got.worker != tt.left || len(got.second)+len(got.leftovers) > 0 {
			t.Errorf("%s: it leaves %v, %v, %v", name, got.worker, got.second, got.leftovers)
		}
	}
}
