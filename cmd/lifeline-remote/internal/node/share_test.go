package node

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/journal"
)

// TestShare checks that a summary is written when it has changed, and every ten
// minutes. A failed write is reported once, and the lease stays.
func TestShare(t *testing.T) {
	rigged(t, cluster.Hello{ShareStatus: true}, func(r *rig) {
		r.granted()
		tell := func(state string, want int) {
			t.Helper()
			r.share <- summary{Name: "web", State: state}
			r.sleep(5 * time.Second) // a renewal passes
			if len(r.f.shared) != want {
				t.Fatalf("%d are written, not %d: %q", len(r.f.shared), want, r.f.shared)
			}
		}
		tell("running", 1)
		tell("running", 1)
		tell("ready", 2)
		if last := r.f.shared[1]; !strings.Contains(last, `"state":"ready"`) || strings.Contains(last, `"at":"0001`) {
			t.Errorf("written is %s", last)
		}
		r.sleep(engine.ShareAtLeast)
		tell("ready", 3)
		r.f.unshared = errors.New("no such table")
		tell("stopping", 3)
		tell("stopping", 3)
		if said := r.took("say"); len(said) != 1 || !strings.Contains(said[0].Text, "cannot share the status") {
			t.Errorf("said is %v", said)
		}
		r.f.unshared = nil
		tell("stopping", 4)
		if lost := r.took("lost"); len(lost) > 0 {
			t.Errorf("the lease is lost: %v", lost)
		}
	})
}

// TestSharer checks that the journal is read at once, and then every minute.
func TestSharer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		next, end := sharer(cluster.Hello{Name: "web", ShareStatus: true,
			Memory: cluster.Bytes(filepath.Join(t.TempDir(), "web.cluster"))})
		defer end()
		for n := range 3 {
			<-next
			if passed := time.Since(began); passed != time.Duration(n)*engine.ShareEvery {
				t.Errorf("reading %d comes after %s", n+1, passed)
			}
		}
	})
	if next, _ := sharer(cluster.Hello{Name: "web", Memory: "web.cluster"}); next != nil {
		t.Error("no option asked for it")
	}
}

// TestSummary checks that a summary is bounded and has no password of an address, with
// any command and status.
func TestSummary(t *testing.T) {
	dir := t.TempDir()
	h := cluster.Hello{Name: "web", Memory: cluster.Bytes(filepath.Join(dir, "web-1.cluster")), Tick: "@hourly"}
	if s := summaryOf(h); s.State != "starting" || s.Problem != "" {
		t.Errorf("before it is written it is %+v", s)
	}
	start := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	bad := journal.Run{Start: start, End: start.Add(time.Minute), Outcome: journal.Failed, Code: 1,
		Why: strings.Repeat("\x00", 100_000)}
	for name, command := range map[string][]string{
		"plain":  {"pg_dump", "postgres://u:hunter2@h/db", "--dsn=mysql://u:hunter2@h/db"},
		"shell":  {"sh", "-c", "DSN='postgres://u:hunter2@h/db' pg_dump amqp://u:hunter2@h"},
		"option": {"job", "etcd://h?user=u&password=hunter2"},
		"long":   {"sh", "-c", strings.Repeat("\u202e<", 100_000) + "postgres://u:hunter2@h/db"},
		"many":   strings.Fields(strings.Repeat("x ", 100_000)),
		"cut":    {strings.Repeat("x", longText-20) + " postgres://u:hunter2@h/db"},
	} {
		state, _ := json.Marshal(journal.State{Version: 1, Name: "web", State: "running", Command: command, Last: &bad,
			Status: "at postgres://u:hunter2@h/db " + strings.Repeat("<", 100_000)})
		line, _ := json.Marshal(bad)
		for file, text := range map[string]string{"web-1.state": string(state), "web-1.history": string(line) + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := summaryOf(h)
		text := s.text()
		if len(text) == 0 || len(text) > engine.MaxShared || strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: %d bytes: %.300s", name, len(text), text)
		}
		if s.Failing == nil || !s.Failing.Equal(start) || s.Schedule != "@hourly" {
			t.Errorf("%s: it is %+v", name, s)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "web-1.state"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := summaryOf(h); !strings.Contains(s.Problem, "damaged") {
		t.Errorf("a damaged one is %+v", s)
	}
}

// TestWithShared checks that each node is shown with what it has shared, even without a
// session. Texts that are no summaries are left out.
func TestWithShared(t *testing.T) {
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	said := func(version string, minute int) []byte {
		return summary{Name: "web", Version: version, At: at.Add(time.Duration(minute) * time.Minute)}.text()
	}
	shared := []engine.Shared{{Name: "web", Node: "a", Text: said("2", 0)},
		{Name: "web", Node: "b", Text: said("1", 5)},
		{Name: "web", Node: "gone", Text: said("1", 1)}, {Name: "web", Node: "broken", Text: []byte("{")},
		{Name: "other", Node: "liar", Text: said("1", 1)}, {Name: "web", Node: "huge", Text: make([]byte, 1e6)}}
	ahead, behind := 12*time.Second, -time.Second
	nodes := nodesOf(engine.View{States: []engine.State{{Name: "web", Members: []engine.Status{
		{Node: "a", Slot: 0, Ahead: &ahead}, {Node: "b", Slot: -1, Ahead: &behind}}}}})
	nodes = withShared(nodes, sharedBy(shared, nil))
	if len(nodes) != 3 || !nodes[0].Present || !nodes[1].Present || nodes[2].Present || nodes[2].Node != "gone" ||
		!nodes[2].Heard.Equal(at.Add(time.Minute)) || nodes[0].Version != "2" || len(nodes[1].Names) != 1 {
		t.Errorf("the nodes are %+v", nodes)
	}
	var lines []string
	for _, d := range cluster.Apart(nodes) {
		lines = append(lines, d.What+": "+d.Text)
	}
	if want := []string{"versions apart: 1 on b; 2 on a",
		"clocks apart: a is 13s ahead of b"}; !slices.Equal(lines, want) {
		t.Errorf("they are apart: %q, not %q", lines, want)
	}
	if nodes := withShared(nil, sharedBy(shared, []string{"db"})); len(nodes) > 0 {
		t.Errorf("of another name there are %+v", nodes)
	}
}
