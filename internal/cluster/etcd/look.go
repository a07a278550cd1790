package etcd

import (
	"context"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// Look reads all keys of a name at one revision.
func (e *Etcd) Look(ctx context.Context, name string) ([]engine.State, error) {
	prefix := names
	if name != "" {
		prefix += name + "/"
	}
	got, err := e.c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, refine(err)
	}
	return e.states(got.Kvs), nil
}

// states sorts the keys. A place counts for a session until it may be taken,
// and for somebody who only looks as long as its holder is a member.
func (e *Etcd) states(kvs []*mvccpb.KeyValue) []engine.State {
	byName := map[string]*engine.State{}
	members := map[string]map[string]engine.Status{}
	for _, kv := range kvs {
		parts := strings.Split(strings.TrimPrefix(string(kv.Key), names), "/")
		s := byName[parts[0]]
		if s == nil {
			s = &engine.State{Name: parts[0]}
			byName[parts[0]], members[parts[0]] = s, map[string]engine.Status{}
		}
		var w who
		switch {
		case len(parts) == 3 && (parts[1] == "member" || parts[1] == "place"):
			if json.Unmarshal(kv.Value, &w) != nil {
				continue
			}
			st := engine.Status{ID: w.ID, Node: w.Node, Since: w.Since, Slot: -1, Mine: w.ID == e.id}
			if parts[1] == "place" { // behind all members, as keys are sorted
				st.Slot, _ = strconv.Atoi(parts[2])
				st.Fence, st.TTL = uint64(kv.CreateRevision), e.left(kv)
				if _, is := members[s.Name][w.ID]; st.TTL <= 0 && !st.Mine && e.lease != 0 || !is && e.lease == 0 {
					continue
				}
			}
			members[s.Name][w.ID] = st
		case len(parts) == 2 && parts[1] == "wish":
			s.Wish = string(kv.Value)
		case len(parts) == 2 && parts[1] == "mark":
			s.Mark, _ = readMark(kv.Value)
		}
	}
	var out []engine.State
	for name, s := range byName {
		for _, m := range members[name] {
			s.Members = append(s.Members, m)
		}
		sort.Slice(s.Members, func(i, j int) bool {
			a, b := s.Members[i], s.Members[j]
			if (a.Slot < 0) != (b.Slot < 0) {
				return b.Slot < 0
			}
			if a.Slot != b.Slot {
				return a.Slot < b.Slot
			}
			return a.Since.Before(b.Since)
		})
		out = append(out, *s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Wish is a key with a lease of its own, so that it doesn't outlive its time.
func (e *Etcd) Wish(ctx context.Context, name, node string, lasts time.Duration) error {
	key := names + name + "/wish"
	if node == "" {
		_, err := e.c.Delete(ctx, key)
		return refine(err)
	}
	g, err := e.c.Grant(ctx, int64((lasts+time.Second-1)/time.Second))
	if err == nil {
		_, err = e.c.Put(ctx, key, node, clientv3.WithLease(g.ID))
	}
	return refine(err)
}

type mark struct {
	Claimed time.Time `json:"claimed"`
	Done    time.Time `json:"done"`
	Skipped int64     `json:"skipped"`
}

func readMark(text []byte) (engine.Mark, error) {
	var m mark
	err := json.Unmarshal(text, &m)
	return engine.Mark(m), err
}

func writeMark(m engine.Mark) string {
	text, _ := json.Marshal(mark{m.Claimed.UTC(), m.Done.UTC(), m.Skipped})
	return string(text)
}

// Mark reads the mark.
func (e *Etcd) Mark(ctx context.Context, name string) (engine.Mark, error) {
	got, err := e.c.Get(ctx, names+name+"/mark")
	if err != nil || len(got.Kvs) == 0 {
		return engine.Mark{}, refine(err)
	}
	m, err := readMark(got.Kvs[0].Value)
	if err != nil {
		return m, engine.Refuse("the key %s in etcd isn't lifeline's: %v", names+name+"/mark", err)
	}
	return m, nil
}

// Claim moves the mark, if it is from and the place still ours.
func (e *Etcd) Claim(ctx context.Context, from, to engine.Mark) error {
	if e.place == "" {
		return engine.ErrLost
	}
	key := e.key("mark")
	was := clientv3.Compare(clientv3.Value(key), "=", writeMark(from))
	if from == (engine.Mark{}) {
		was = clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	}
	r, err := e.c.Txn(ctx).If(was, clientv3.Compare(clientv3.CreateRevision(e.place), "=", e.fence)).
		Then(clientv3.OpPut(key, writeMark(to))).
		Else(clientv3.OpGet(e.place)).Commit()
	if err != nil {
		return refine(err)
	}
	if r.Succeeded {
		return nil
	}
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) == 0 || kvs[0].CreateRevision != e.fence {
		return engine.ErrLost
	}
	return engine.ErrClaimed
}
