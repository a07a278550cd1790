package logger

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"lifeline/internal/journal"
)

// pings has lifeline-remote send the pings one after the other, because an end that
// overtakes its start would look like a hung run. For the same reason the end of a run
// cancels the ping of its start.
type pings struct {
	queue
	mu     sync.Mutex
	cancel func() // cancels the ping of a start; nil for none
	failed bool   // the last ping failed, and this was reported
}

// maxPings is how many pings may wait while the network is away.
const maxPings = 20

// pingPatience is how long lifeline-remote may take for all attempts.
const pingPatience = 2 * time.Minute

// Ping is what lifeline-remote reads on its standard input, because the URL is a secret
// and must not be on a command line.
type Ping struct {
	URL  string `json:"url"`
	What string `json:"what"` // "start", "log", or an exit code
	RID  string `json:"rid"`
	Body []byte `json:"body,omitempty"`
}

func (p *pings) start(r journal.Run) {
	p.send(Ping{What: "start", RID: RID(r.Generation)}, true)
}

func (p *pings) end(r journal.Run, said []byte) {
	p.mu.Lock()
	if p.cancel != nil {
		p.cancel()
	}
	p.mu.Unlock()
	what := "log" // asked to end, or an unknown end: neither good nor bad
	switch {
	case r.Good():
		what = "0"
	case r.Bad():
		what = fmt.Sprint(min(max(r.Code, 1), 255))
	}
	if r.Why != "" {
		said = append(said, "\nlifeline: "+r.Why+"\n"...)
	}
	p.send(Ping{What: what, RID: RID(r.Generation), Body: said}, false)
}

func (p *pings) send(ping Ping, start bool) {
	c := p.c
	if c.setup.PingURL == "" {
		return
	}
	ping.URL = c.setup.PingURL
	remote, trouble := c.setup.Remote, c.setup.Trouble
	p.add(func() {
		err := p.run(remote, ping, start)
		if errors.Is(err, errGivenUp) {
			return
		}
		failed := p.failed
		p.failed = err != nil
		if err == nil {
			_ = os.Remove(trouble)
			return
		}
		text := fmt.Sprintf("the ping (%s) didn't get through: %v", ping.What, err)
		c.post(func() {
			if len(c.peers) == 0 {
				keepTrouble(trouble, text)
			} else if !failed {
				c.warn(text)
			}
		})
	})
}

// untold begins the file of a failed ping that no supervisor has reported yet; told
// replaces untold when a supervisor has reported it.
const untold, told = "untold: ", "told: "

// keepTrouble writes down a failed ping, for the next supervisor and for doctor. An
// existing file stays, because it is the beginning of the same trouble.
func keepTrouble(path, text string) {
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = file.WriteString(untold + text + "\n")
	_ = file.Close()
}

// Untold returns the text of an unreported failed ping and marks it as reported. Later
// calls return "" until a ping has got through and another has failed.
func Untold(path string) string {
	text, isNew := strings.CutPrefix(Trouble(path), untold)
	if !isNew {
		return ""
	}
	_ = os.WriteFile(path, []byte(told+text+"\n"), 0o600)
	return text
}

// Trouble returns the whole text of the file of a failed ping.
func Trouble(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// errGivenUp means that the run ended before the ping of its start got through.
var errGivenUp = errors.New("given up, because the run has ended")

func (p *pings) run(remote string, ping Ping, start bool) error {
	text, err := json.Marshal(ping)
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd := exec.Command(remote, "ping")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(text)), &said
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot run %s: %w", remote, err)
	}
	cancelled := make(chan struct{})
	if start {
		p.mu.Lock()
		p.cancel = sync.OnceFunc(func() { close(cancelled) })
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			p.cancel = nil
			p.mu.Unlock()
		}()
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	select {
	case err = <-over:
	case <-cancelled:
		// Wait a moment, because the ping may just have got through.
		select {
		case err = <-over:
		case <-time.After(time.Second):
			_ = cmd.Process.Kill()
			<-over
			err = errGivenUp
		}
	case <-time.After(pingPatience):
		_ = cmd.Process.Kill()
		<-over
		err = fmt.Errorf("no success within %s", pingPatience)
	}
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		first, _, _ := strings.Cut(text, "\n")
		return errors.New(strings.TrimPrefix(first, "lifeline-remote: "))
	}
	return err
}

// RID makes a run's id from its generation, as a UUID for healthchecks.io. A supervisor
// that adopts the worker makes the same id.
func RID(generation string) string {
	sum := fnv.New128a() // no secret; crypto/sha256's init would cost every tick
	_, _ = sum.Write([]byte("lifeline run " + generation))
	h := sum.Sum(nil)
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // version 8, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
