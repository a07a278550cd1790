//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// app is a command whose code on disk can be replaced.
type app struct{ path string }

// deploy puts a new version in place, as an installer does.
func (a app) deploy(script string, mode os.FileMode) error {
	fresh := a.path + ".new"
	if err := os.WriteFile(fresh, []byte(script), 0o600); err != nil {
		return err
	}
	if err := os.Chmod(fresh, mode); err != nil {
		return err
	}
	return os.Rename(fresh, a.path)
}

func (s *site) newApp(script string) (app, error) {
	dir, err := s.sub()
	a := app{filepath.Join(dir, "app")}
	return a, errors.Join(err, a.deploy(script, 0o755))
}

func (s *site) version(flags string) string {
	return fmt.Sprintf("#!/bin/sh\nexec %s %s\n", s.webserver, flags)
}

// badVersion is a version that lifeline must turn down.
type badVersion struct {
	what   string
	script string
	mode   os.FileMode // 0: there is no file
	says   []string    // texts that lifeline reload must print
	serves bool        // accepts connections before it dies
}

func (s *site) badVersions() []badVersion {
	return []badVersion{
		{what: "crashes at its start",
			script: "#!/bin/sh\necho reading the configuration\necho 'no such table: users' >&2\nexit 3\n", mode: 0o755,
			says: []string{"exited with code 3", "no such table: users"}},
		{what: "is killed by a signal", script: "#!/bin/sh\nkill -SEGV $$\n", mode: 0o755, says: []string{"SIGSEGV"}},
		{what: "exits with 0", script: "#!/bin/sh\n", mode: 0o755, says: []string{"ended after"}},
		{what: "hangs", script: s.version("-hang"), mode: 0o755,
			says: []string{"not ready within 3s (--reload-timeout)"}},
		{what: "hangs, then crashes", script: s.version("-hang -crash-after 100ms"), mode: 0o755,
			says: []string{"exited with code 1", "crashes, as asked"}},
		{what: "isn't executable", script: s.version(""), mode: 0o644, says: []string{"permission denied"}},
		{what: "isn't there", says: []string{"no such command"}},
		{what: "has a missing interpreter", script: "#!/no/such/interpreter\n", mode: 0o755,
			says: []string{"interpreter"}},
		{what: "is no program", script: "neither a program nor a script", mode: 0o755, says: []string{"not a program"}},
		{what: "says READY=1 and dies within a second", script: s.version("-crash-after 400ms"),
			mode: 0o755, serves: true,
			says: []string{"exited with code 1", "crashes, as asked"}},
	}
}

// turnedDown deploys one bad version after another under load. Each time the old
// version must go on, no request may be lost, and lifeline reload must say why. In the
// end turnedDown deploys a good version.
func (s *site) turnedDown(tell func(format string, args ...any)) error {
	at, err := freeAddress()
	if err != nil {
		return err
	}
	a, err := s.newApp(s.version("-version good"))
	if err != nil {
		return err
	}
	v, err := s.serve("", []string{"--respawn", "--notify", "--reload-timeout", "3s", "--listen", "tcp://" + at},
		a.path)
	if err != nil {
		return err
	}
	for _, b := range s.badVersions() {
		var before string
		put := func() error {
			if b.mode == 0 {
				return os.Remove(a.path)
			}
			return a.deploy(b.script, b.mode)
		}
		var text string
		var code int
		r, err := under(at, echo, eight, 1, 0, func(int) error {
			before = v.recorded()
			if err := put(); err != nil {
				return fmt.Errorf("cannot deploy: %w", err)
			}
			text, code = v.command("reload")
			return nil
		})
		switch {
		case err != nil:
			return errors.Join(err, v.end())
		case code != 1:
			err = fmt.Errorf("code %d, not 1", code)
		case v.recorded() != before:
			err = errors.New("the old worker isn't the instance any more")
		case r.tally.lost > 0 && !b.serves:
			err = fmt.Errorf("%d of %d requests lost: %s", r.tally.lost, r.tally.requests, r.tally.why())
		}
		for _, want := range append(b.says, "rolled back, the old one goes on") {
			if !strings.Contains(text, want) {
				err = errors.Join(err, fmt.Errorf("it doesn't say %q", want))
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("a version that %s: %w; lifeline reload said: %s", b.what, err, text),
				v.end())
		}
		lost := fmt.Sprintf("0 of %d requests lost", r.tally.requests)
		if b.serves {
			lost = fmt.Sprintf("%d of %d requests lost, those that the bad one had accepted: %s", r.tally.lost,
				r.tally.requests, r.tally.why())
		}
		tell("a version that %s: code %d, `%s`; %s", b.what, code, strings.ReplaceAll(text, s.dir, ""), lost)
	}
	err = errors.Join(a.deploy(s.version("-version good"), 0o755), v.reload())
	return errors.Join(err, v.end())
}

// deafDrain replaces a worker that ignores its stop signal.
func (s *site) deafDrain(tell func(format string, args ...any)) error {
	v, err := s.serve("", []string{"--notify", "--settle", settle, "--kill-after", "300ms"},
		s.single, "-ready", "-deaf")
	if err != nil {
		return err
	}
	err = await("the first one", func() bool {
		now := s.running(s.single)
		return len(now) == 1 && deaf(now[0])
	})
	if err == nil {
		err = v.settledReload()
	}
	if err == nil {
		err = await("the old one to be killed", func() bool { return len(s.running(s.single)) == 1 })
	}
	if said := v.text(); err == nil && (!strings.Contains(said, "300ms") || !strings.Contains(said, "killing it")) {
		err = fmt.Errorf("lifeline doesn't say that it kills it after 300ms: %s", said)
	}
	if err == nil {
		tell("an old generation that ignores SIGTERM: `%s`", strings.TrimSpace(v.text()))
	}
	return errors.Join(err, v.end())
}

// hanging brings a service into the middle of a reload: the old generation is up, and
// the new generation never becomes ready. answer receives the output of lifeline
// reload.
func (s *site) hanging(options []string, old, fresh string) (v *service, answer chan string, err error) {
	a, err := s.newApp(old)
	if err != nil {
		return nil, nil, err
	}
	if v, err = s.serve("", options, a.path); err != nil {
		return nil, nil, err
	}
	if err := await("the first one", func() bool { return len(s.running(s.single)) == 1 }); err != nil {
		return v, nil, err
	}
	if err := a.deploy(fresh, 0o755); err != nil {
		return v, nil, err
	}
	answer = make(chan string, 1)
	go func() {
		for {
			text, code := v.command("reload")
			if !strings.Contains(text, "still starting") {
				answer <- fmt.Sprintf("%s (code %d)", text, code)
				return
			}
		}
	}()
	return v, answer, await("both generations", func() bool {
		both := s.running(s.single)
		return len(both) == 2 && (deaf(both[0]) || !strings.Contains(old, "-deaf")) &&
			(deaf(both[1]) || !strings.Contains(fresh, "-deaf"))
	})
}

// twice asks for a second reload during a reload.
func (s *site) twice(tell func(format string, args ...any)) error {
	v, answer, err := s.hanging([]string{"--notify"}, s.singly("-ready"), s.singly(""))
	if v == nil {
		return err
	}
	if err == nil {
		const want = "a reload is on its way already"
		text, code := v.command("reload")
		kill(v.id, unix.SIGUSR2)
		err = await("two warnings", func() bool { return strings.Count(v.text(), "reload ignored: "+want) == 2 })
		if code != 1 || !strings.Contains(text, want) {
			err = errors.Join(err, fmt.Errorf("the second lifeline reload: code %d, %s", code, text))
		}
		tell("a reload during a reload: code %d, `%s`; SIGUSR2: the same as a warning", code, text)
		if both := s.running(s.single); len(both) == 2 {
			kill(both[1], unix.SIGKILL)
		}
		first := <-answer
		if !strings.Contains(first, "rolled back, the old one goes on: the new one: the command "+
			"was killed by SIGKILL") {
			err = errors.Join(err, fmt.Errorf("the first lifeline reload: %s", first))
		}
	}
	return errors.Join(err, v.end())
}

func (s *site) singly(flags string) string {
	return fmt.Sprintf("#!/bin/sh\nexec %s %s\n", s.single, flags)
}

// termDuring ends lifeline in the middle of a reload.
func (s *site) termDuring(tell func(format string, args ...any)) error {
	v, answer, err := s.hanging([]string{"--respawn", "--notify", "--kill-after", "300ms"}, s.singly("-ready"),
		s.singly("-deaf"))
	if v == nil {
		return err
	}
	if err != nil {
		return errors.Join(err, v.end())
	}
	kill(v.id, unix.SIGTERM)
	code, err := v.wait()
	if left := s.alive(); len(left) > 0 && err == nil {
		err = fmt.Errorf("left over after SIGTERM: %s", describe(left))
	}
	said := <-answer
	if strings.Contains(said, "goes on") {
		err = errors.Join(err, fmt.Errorf("lifeline reload says of one that was ended: %s", said))
	}
	tell("SIGTERM to lifeline during a reload, the new one ignoring it: both gone, code %d; lifeline reload said `%s`",
		code, said)
	return err
}

// killedDuring kills lifeline itself at a moment of a reload, while both generations
// ignore the death signal, and starts the next tick.
func (s *site) killedDuring(moment string, tell func(format string, args ...any)) error {
	settled, fresh := "1m", s.singly("-deaf -ready")
	switch moment {
	case killMoments[0]:
		fresh = s.singly("-deaf")
	case killMoments[2]:
		settled = settle
	}
	// With a minute the old worker lives until lifeline is killed. The next tick has a
	// --kill-after of its own.
	options := []string{"--respawn", "--notify", "--kill-after=1m", "--settle", settled}
	v, answer, err := s.hanging(options, s.singly("-deaf -ready"), fresh)
	if v == nil {
		return err
	}
	if err != nil {
		return errors.Join(err, v.end())
	}
	if moment == killMoments[2] {
		if said := <-answer; !strings.Contains(said, "reloaded") {
			return errors.Join(fmt.Errorf("lifeline reload: %s", said), v.end())
		}
	}
	both := s.running(s.single)
	kill(v.id, unix.SIGKILL)
	if _, err := v.wait(); err != nil {
		return err
	}
	if now := s.running(s.single); len(now) != 2 {
		return fmt.Errorf("%s: %d workers after lifeline was killed, not both", moment, len(now))
	}
	v.args[slices.Index(v.args, "--kill-after=1m")] = "--kill-after=300ms"
	next, err := v.tick()
	if err != nil {
		return err
	}
	err = await("one instance after the next tick; it said "+next.text(),
		func() bool { return len(s.running(s.single)) == 1 })
	var now []pid.ID
	if err == nil {
		now = s.running(s.single)
		which := "the old one"
		if now[0] == both[1] {
			which = "the new one"
		} else if now[0] != both[0] {
			which = "another one"
		}
		tell("lifeline killed %s, both ignoring SIGTERM: the next tick leaves %s and says `%s`", moment, which,
			strings.TrimSpace(next.text()))
	}
	return errors.Join(err, next.end())
}

var killMoments = []string{"while the new one starts", "while the new one settles", "while the old one drains"}

func badMode(s *site, _ int, _ uint64) error {
	fmt.Printf("\n### What goes wrong\n\n")
	err := errors.Join(s.turnedDown(bullet), s.deafDrain(bullet), s.twice(bullet), s.termDuring(bullet))
	for _, moment := range killMoments {
		err = errors.Join(err, s.killedDuring(moment, bullet))
	}
	return err
}
