//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inMounts marks the process that has mounts of its own.
const inMounts = "CHAOS_MOUNTS"

// ownMounts starts this program again in its own mount namespace, where that is
// allowed. The state directory can then lie on a small file system, which faults
// fill. Other processes of the machine don't see that file system.
func ownMounts() {
	unshare, err := exec.LookPath("unshare")
	me, err2 := os.Executable()
	if err != nil || err2 != nil || os.Getuid() != 0 || os.Getenv(inMounts) != "" {
		return
	}
	if exec.Command(unshare, "-m", "--propagation", "private", "true").Run() != nil {
		return
	}
	argv := append([]string{"unshare", "-m", "--propagation", "private", "--", me}, os.Args[1:]...)
	_ = syscall.Exec(unshare, argv, append(os.Environ(), inMounts+"=1"))
}

// room is the size of the small file system, in bytes and in files.
const room = "size=64k,nr_inodes=32,mode=0700"

func (d *driver) mount() error {
	if os.Getenv(inMounts) == "" {
		return nil
	}
	d.volume = d.path("volume")
	if err := os.MkdirAll(d.volume, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", d.volume, "tmpfs", 0, room); err != nil {
		d.volume = "" // not allowed here, so no fault fills the disk
		return nil
	}
	d.state = filepath.Join(d.volume, "state")
	return nil
}

func (d *driver) unmount() {
	if d.volume != "" {
		_ = unix.Unmount(d.volume, unix.MNT_DETACH)
	}
}

// later ends a fault after its hold, and logs the end as a fault too: a gap is judged
// only from then on.
func (d *driver) later(a action, end func()) {
	d.faults.Add(1)
	go func() {
		defer d.faults.Done()
		d.lasts(a.hold)
		end()
		d.watch.Note("fault", "end of "+a.kind.String())
	}()
}

// lasts returns when a fault is over, and logs until then that it goes on.
func (d *driver) lasts(hold time.Duration) {
	over := time.After(hold)
	again := time.NewTicker(d.tick / 4)
	defer again.Stop()
	for {
		select {
		case <-over:
			return
		case <-again.C:
			d.watch.Note("still", "")
		}
	}
}

// fill takes every byte, or every inode, of the state directory's file system.
func (d *driver) fill(a action) {
	if d.volume == "" {
		return
	}
	dir, err := os.MkdirTemp(d.volume, "full")
	if err != nil {
		return // the file system is full already
	}
	if a.pick < 0.7 {
		if f, err := os.Create(filepath.Join(dir, "bytes")); err == nil {
			for err == nil {
				_, err = f.Write(bytes.Repeat([]byte("x"), 4096))
			}
			f.Close()
		}
	} else {
		for n := 0; err == nil; n++ {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), nil, 0o600)
		}
	}
	d.later(a, func() { _ = os.RemoveAll(dir) })
}

// squeeze lowers the supervisor's limit on descriptors to between 3 and 14. Open
// descriptors stay open.
func (d *driver) squeeze(a action) {
	id := d.supervisor(a.pick, 0)
	if id.PID == 0 {
		return
	}
	var was unix.Rlimit
	if unix.Prlimit(id.PID, unix.RLIMIT_NOFILE, nil, &was) != nil {
		return
	}
	few := unix.Rlimit{Cur: uint64(3 + int(a.pick*1e4)%12), Max: was.Max}
	_ = unix.Prlimit(id.PID, unix.RLIMIT_NOFILE, &few, nil)
	d.later(a, func() {
		d.mu.Lock() // this process reaps no child meanwhile, so the pid is still its own
		defer d.mu.Unlock()
		for _, h := range d.running {
			if h.ID == id && !h.Dead() {
				_ = unix.Prlimit(id.PID, unix.RLIMIT_NOFILE, &was, nil)
			}
		}
	})
}

// ask runs a command of the guard.
func (d *driver) ask(a action) {
	if d.subject.verb == nil {
		return
	}
	run := func(verb string) {
		cmd := d.subject.verb(d.programs, d.state, verb)
		cmd.Stdout, cmd.Stderr = nil, nil // a reload may find no worker
		_ = cmd.Run()
	}
	if a.kind == pauseIt {
		run("pause")
		d.later(a, func() { run("resume") })
		return
	}
	run("reload")
	d.watch.Note("fault", "end of reload")
}

// load keeps both cores busy.
func (d *driver) load(a action) {
	var busy []*exec.Cmd
	for range 2 {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if cmd.Start() == nil {
			busy = append(busy, cmd)
		}
	}
	d.later(a, func() {
		for _, cmd := range busy {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}
