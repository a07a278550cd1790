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

// rig is a session whose lifeline is the test.
type rig struct {
	t     *testing.T
	f     *fake
	began time.Time
	conn  net.Conn          // lifeline's end
	said  []cluster.Message // by the session, since the last look
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
				m, err := cluster.FromRemote.Read(in.Bytes())
				if err != nil {
					t.Errorf("it says %q: %v", in.Text(), err)
				}
				r.said = append(r.said, m)
				if m.Verb == "ping" {
					go func() { _, _ = io.WriteString(theirs, cluster.Message{Verb: "pong"}.Line()) }()
				}
			}
		}()
		go func() {
			banner := strings.NewReader(cluster.FromLifeline.Banner())
			r.code <- s.run(cluster.NewReader(io.MultiReader(banner, ours), cluster.FromLifeline))
			ours.Close()
		}()
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

// say sends messages as lifeline; a string is a verb alone.
func (r *rig) say(messages ...any) {
	var text strings.Builder
	for _, m := range messages {
		if verb, ok := m.(string); ok {
			m = cluster.Message{Verb: verb}
		}
		text.WriteString(m.(cluster.Message).Line())
	}
	r.write(text.String())
}

func (r *rig) write(text string) {
	r.handOver()
	_, _ = io.WriteString(r.conn, text)
	synctest.Wait()
}

func starting(generation string) cluster.Message {
	return cluster.Message{Verb: "starting", Generation: generation}
}

func started(generation string) cluster.Message {
	return cluster.Message{Verb: "started", Generation: generation, PID: 100, Start: 5}
}

func ended(generation string, up time.Duration, code int) cluster.Message {
	return cluster.Message{Verb: "ended", Generation: generation, Up: up, Code: code}
}

func done(label string, code int) cluster.Message {
	return cluster.Message{Verb: "done", Label: label, Code: code}
}

func (r *rig) sleep(d time.Duration) {
	r.handOver()
	await.Pass(d)
	r.handOver()
}

// handOver orders the test's writes before the session's reads.
func (r *rig) handOver() {
	synctest.Wait()
	select {
	case r.rang <- struct{}{}:
	default:
	}
	synctest.Wait()
}

// took removes the messages with the verb from r.said, and returns them.
func (r *rig) took(verb string) (messages []cluster.Message) {
	synctest.Wait()
	r.said = slices.DeleteFunc(r.said, func(m cluster.Message) bool {
		if m.Verb == verb {
			messages = append(messages, m)
		}
		return m.Verb == verb
	})
	return messages
}

func (r *rig) granted() {
	r.t.Helper()
	r.say("want")
	r.sleep(50 * time.Millisecond)
	if got := r.took("granted"); len(got) != 1 {
		r.t.Fatalf("it should have been granted: %v, after %q", got, r.f.calls)
	}
}
