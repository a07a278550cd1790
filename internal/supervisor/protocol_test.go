package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lifeline/internal/journal"
	"lifeline/internal/sdnotify"
)

// TestOwnWords tests the messages of sd_notify(3) that the table of the package doc
// leaves out; docs/sd_notify.md has the whole list.
func TestOwnWords(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, Umask: -1, Notify: true, ReadyTimeout: time.Minute}
	for _, c := range []struct {
		says sdnotify.Message
		why  string
	}{
		{sdnotify.Message{Errno: 2}, "it said ERRNO=2 (no such file or directory)"},
		{sdnotify.Message{BusError: "org.freedesktop.DBus.Error.TimedOut"},
			"it said BUSERROR=org.freedesktop.DBus.Error.TimedOut"},
		{sdnotify.Message{VarlinkError: "io.example.Bad"}, "it said VARLINKERROR=io.example.Bad"},
	} {
		var lives []journal.Run
		supervised(t, o, nil, func(f *fake) {
			f.l.post(func() { f.l.job.Events.Ended = func(life journal.Run) { lives = append(lives, life) } })
			f.say(sdnotify.Message{Ready: true})
			f.state()
			f.say(c.says)
			f.state()
			f.exit(1)
			f.state()
		})
		if len(lives) != 1 || lives[0].Why != c.why || lives[0].Outcome != journal.Failed {
			t.Errorf("%+v: it told %+v", c.says, lives)
		}
	}
	supervised(t, o, nil, func(f *fake) {
		state := func() string { f.state(); return f.l.snapshot().State }
		f.say(sdnotify.Message{Ready: true})
		before := state()
		f.say(sdnotify.Message{Reloading: true, MonotonicUSec: 1})
		during := state()
		f.say(sdnotify.Message{Ready: true})
		if got := []string{before, during, state()}; !slices.Equal(got, []string{"ready", "reloading", "ready"}) {
			t.Errorf("with RELOADING=1 between two READY=1 it is %q", got)
		}
		f.say(sdnotify.Message{NotifyAccess: "all"})
		f.state()
		if len(f.warned) != 1 || !strings.Contains(f.warned[0],
			"NOTIFYACCESS=all, which changes nothing; --notify-access says who may speak") {
			t.Errorf("it said %q", f.warned)
		}
		f.say(sdnotify.Message{Status: "busy", HasStatus: true})
		f.state()
		if got := f.l.snapshot().Status; got != "busy" {
			t.Errorf("the status is %q", got)
		}
	})
}
