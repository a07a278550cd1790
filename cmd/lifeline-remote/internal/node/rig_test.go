package node

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
	"lifeline/procscan"
	"lifeline/proof/await"
)

// rig is a session with a lifeline that says what the test wants.
type rig struct {
	t     *testing.T
	f     *fake
	began time.Time
	conn  net.Conn // lifeline's end
	said  []string // by the session, since the last look
	kills int
	code  chan int
	rang  chan struct{}
	kept  memory // as last written down
	share chan summary
}

func (r *rig) now() time.Duration { return time.Since(r.began) }

func rigged(t *testing.T, h cluster.Hello, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, began: time.Now(), code: make(chan int, 1), share: make(chan summary)}
		h.URL, h.Name, h.Node = "fake://", "web", "a"
		h.Slots, h.TTL, h.Grace = max(h.Slots, 1), 10*time.Second, 2*time.Second
		r.f = &fake{now: r.now, ttl: h.TTL, changed: make(chan struct{}, 1), epoch: "h.1", history: "h"}
		ours, theirs := net.Pipe()
		r.conn = theirs
		rang := make(chan struct{}, 1)
		r.rang = rang
		alarm := time.AfterFunc(time.Hour, func() {
			select {
			case rang <- struct{}{}:
			default:
			}
		})
		s := newSession(h, ours, func(ctx context.Context, _ cluster.Hello) (engine.Engine, error) {
			if err := r.f.call(ctx, "open"); err != nil {
				return nil, err
			}
			return r.f, nil
		}, world{now: r.now, wall: time.Now, rang: rang, kill: func([]tree, procscan.ID) { r.kills++ },
			keep: func(m memory) { r.kept = m }, share: r.share,
			alarm: func(at time.Duration) {
				alarm.Stop()
				if at > 0 {
					alarm.Reset(max(at-r.now(), 0))
				}
			}})
		s.past = memory{Epoch: r.f.epoch, History: "h"}
		go func() {
			for in := bufio.NewScanner(theirs); in.Scan(); {
				r.said = append(r.said, in.Text())
				if in.Text() == "ping" {
					go func() { _, _ = io.WriteString(theirs, "pong\n") }()
				}
			}
		}()
		go func() { r.code <- s.run(cluster.NewReader(ours, cluster.FromLifeline())); ours.Close() }()
		test(r)
		theirs.Close()
		select {
		case <-r.code:
		case <-time.After(time.Minute):
			t.Error("lifeline is gone, and lifeline-remote stays")
		}
		alarm.Stop()
	})
}

func (r *rig) say(lines ...string) {
	r.handOver()
	_, _ = io.WriteString(r.conn, strings.Join(lines, "\n")+"\n")
	synctest.Wait()
}

func (r *rig) sleep(d time.Duration) {
	r.handOver()
	await.Pass(d)
	r.handOver()
}

// handOver orders what the test has written before what the session reads.
func (r *rig) handOver() {
	synctest.Wait()
	select {
	case r.rang <- struct{}{}:
	default:
	}
	synctest.Wait()
}

// took gives what was said of a verb, and forgets it.
func (r *rig) took(verb string) (lines []string) {
	synctest.Wait()
	r.said = slices.DeleteFunc(r.said, func(l string) bool {
		is := l == verb || strings.HasPrefix(l, verb+" ")
		if is {
			lines = append(lines, l)
		}
		return is
	})
	return lines
}

func (r *rig) granted() {
	r.t.Helper()
	r.say("want")
	r.sleep(50 * time.Millisecond)
	if got := r.took("granted"); len(got) != 1 {
		r.t.Fatalf("it should have been granted: %q, after %q", got, r.f.calls)
	}
}
