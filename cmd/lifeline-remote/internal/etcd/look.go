package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// Look reads all keys of a name at one revision.
func (e *Etcd) Look(ctx context.Context, name string) (engine.View, error) {
	prefix := names
	if name != "" {
		prefix += name + "/"
	}
	got, err := e.c.Txn(ctx).Then(clientv3.OpGet(prefix, clientv3.WithPrefix()),
		clientv3.OpGet(drains, clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
	if err != nil {
		return engine.View{}, e.refine(err)
	}
	e.enter(got.Header)
	states := e.states(got.Responses[0].GetResponseRange().Kvs)
	var drained []string
	for _, kv := range got.Responses[1].GetResponseRange().Kvs {
		drained = append(drained, strings.TrimPrefix(string(kv.Key), drains))
	}
	return engine.View{States: states, Drained: drained, Epoch: e.epoch,
		History:  fmt.Sprintf("%x", got.Header.ClusterId),
		Revision: uint64(got.Header.Revision)}, nil
}

func epochOf(h *etcdserverpb.ResponseHeader) string {
	return fmt.Sprintf("%x.%d", h.ClusterId, h.RaftTerm)
}

// enter notes the epoch and the revision. If etcd may have gone back, it drops the
// observations of slots, because a revision may come twice.
func (e *Etcd) enter(h *etcdserverpb.ResponseHeader) {
	if e.strange(h) {
		e.mu.Lock()
		clear(e.seen)
		e.mu.Unlock()
	}
	e.epoch, e.revision = epochOf(h), h.Revision
}

// strange reports whether this etcd may have gone back since the last Look. Then its
// identity differs, its revisions are lower, or it had an election, as after a restart of
// all members.
func (e *Etcd) strange(h *etcdserverpb.ResponseHeader) bool {
	return e.epoch != "" && (epochOf(h) != e.epoch || h.Revision < e.revision)
}

// Raise raises the offset of the fences and the mark to floor.
func (e *Etcd) Raise(ctx context.Context, name string, floor engine.Floor) error {
	fence, markKey := names+name+"/fence", names+name+"/mark"
	for {
		got, err := e.c.Txn(ctx).Then(clientv3.OpGet(fence), clientv3.OpGet(markKey)).Commit()
		if err != nil {
			return e.refine(err)
		}
		offset, was := offsetOf(got.Responses[0].GetResponseRange().Kvs)
		var stands engine.Mark
		var stood int64
		if kvs := got.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
			stands, _ = readMark(kvs[0].Value)
			stood = kvs[0].ModRevision
		}
		var puts []clientv3.Op
		if int64(floor.Fence) > was+offset {
			puts = append(puts, clientv3.OpPut(fence,
				strconv.FormatInt(max(offset, int64(floor.Fence)-got.Header.Revision), 10)))
		}
		if floor.Mark.Serial > stands.Serial {
			puts = append(puts, clientv3.OpPut(markKey, writeMark(floor.Mark.Over(stands, time.Now()))))
		}
		if len(puts) == 0 {
			return nil
		}
		r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(fence), "=", was),
			clientv3.Compare(clientv3.ModRevision(markKey), "=", stood)).
			Then(puts...).Commit()
		if err != nil || r.Succeeded {
			return e.refine(err)
		}
	}
}

// states turns the keys into states. For a session, a slot counts until another node may
// take it. For a caller without a session, a slot counts while its holder is a member.
func (e *Etcd) states(kvs []*mvccpb.KeyValue) []engine.State {
	byName := map[string]*engine.State{}
	members := map[string]map[string]engine.Status{}
	fences := map[string]uint64{}
	for _, kv := range kvs {
		parts := strings.Split(strings.TrimPrefix(string(kv.Key), names), "/")
		if len(parts) == 2 && parts[1] == "fence" { // a forgotten name has no other key
			offset, revision := offsetOf([]*mvccpb.KeyValue{kv})
			fences[parts[0]] = uint64(offset + revision)
			continue
		}
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
			st := engine.Status{ID: w.ID, Node: w.Node, Since: w.Since, Slot: -1, Mine: w.ID == e.id,
				Order: uint64(kv.CreateRevision), Ahead: w.Ahead}
			if parts[1] == "place" { // after all members, as keys are sorted
				st.Slot, _ = strconv.Atoi(parts[2])
				st.Fence, st.TTL = fenceOf(kv), e.left(kv)
				m, is := members[s.Name][w.ID]
				st.Order, st.Ahead = m.Order, m.Ahead
				if st.TTL <= 0 && !st.Mine && e.lease != 0 || !is && e.lease == 0 {
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
		s.Fence = fences[name]
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

// Drain writes or deletes a key, with a lease if the drain has an end.
func (e *Etcd) Drain(ctx context.Context, node string, lasts time.Duration) error {
	var err error
	switch lasts {
	case engine.Never:
		_, err = e.c.Delete(ctx, drains+node)
	case engine.Always:
		_, err = e.c.Put(ctx, drains+node, "")
	default:
		var g *clientv3.LeaseGrantResponse
		if g, err = e.c.Grant(ctx, int64((lasts+time.Second-1)/time.Second)); err == nil {
			_, err = e.c.Put(ctx, drains+node, "", clientv3.WithLease(g.ID))
		}
	}
	return e.refine(err)
}

// Tell writes the member's key again.
func (e *Etcd) Tell(ctx context.Context, ahead time.Duration) error {
	if e.lease == 0 {
		return engine.ErrLost
	}
	e.who.Ahead = &ahead
	text, _ := json.Marshal(e.who)
	_, err := e.c.Put(ctx, e.key("member", e.id), string(text), clientv3.WithLease(e.lease))
	return e.refine(err)
}

// Wish writes a key with a lease of its own, so that the wish ends in time.
func (e *Etcd) Wish(ctx context.Context, name, node string, lasts time.Duration) error {
	key := names + name + "/wish"
	if node == "" {
		_, err := e.c.Delete(ctx, key)
		return e.refine(err)
	}
	g, err := e.c.Grant(ctx, int64((lasts+time.Second-1)/time.Second))
	if err == nil {
		_, err = e.c.Put(ctx, key, node, clientv3.WithLease(g.ID))
	}
	return e.refine(err)
}

type mark struct {
	Claimed time.Time `json:"claimed"`
	Done    time.Time `json:"done"`
	Skipped int64     `json:"skipped"`
	Serial  int64     `json:"serial,omitempty"`
}

func readMark(text []byte) (engine.Mark, error) {
	var m mark
	err := json.Unmarshal(text, &m)
	return engine.Mark(m), err
}

func writeMark(m engine.Mark) string {
	text, _ := json.Marshal(mark{m.Claimed.UTC(), m.Done.UTC(), m.Skipped, m.Serial})
	return string(text)
}

// Mark reads the mark's key.
func (e *Etcd) Mark(ctx context.Context, name string) (engine.Mark, error) {
	got, err := e.c.Get(ctx, names+name+"/mark")
	if err != nil || len(got.Kvs) == 0 {
		return engine.Mark{}, e.refine(err)
	}
	m, err := readMark(got.Kvs[0].Value)
	if err != nil {
		return m, engine.Refuse("the key %s in etcd isn't lifeline's: %v", names+name+"/mark", err)
	}
	return m, nil
}

// Runs reads the runs' keys.
func (e *Etcd) Runs(ctx context.Context, name string) ([]engine.Run, error) {
	got, err := e.c.Get(ctx, runs+name+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, e.refine(err)
	}
	var list []engine.Run
	for _, kv := range got.Kvs {
		var run engine.Run
		if json.Unmarshal(kv.Value, &run) == nil {
			list = append(list, run)
		}
	}
	slices.SortFunc(list, func(a, b engine.Run) int { return cmp.Compare(b.Serial, a.Serial) })
	return list, nil
}

// Claim moves the mark, if it is still from and this session has its slot.
func (e *Etcd) Claim(ctx context.Context, from, to engine.Mark, run *engine.Run) error {
	if e.slot == "" {
		return engine.ErrLost
	}
	key := e.key("mark")
	was := clientv3.Compare(clientv3.Value(key), "=", writeMark(from))
	if from == (engine.Mark{}) {
		was = clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	}
	puts := []clientv3.Op{clientv3.OpPut(key, writeMark(to))}
	if run != nil {
		text, _ := json.Marshal(run)
		puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%s/%03d", runs, e.name, run.Place()), string(text)))
	}
	r, err := e.c.Txn(ctx).If(append(e.own(), was)...).
		Then(puts...).
		Else(clientv3.OpGet(e.slot)).Commit()
	if err != nil {
		return e.refine(err)
	}
	if r.Succeeded {
		return nil
	}
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) == 0 || kvs[0].CreateRevision != e.made ||
		string(kvs[0].Value) != e.holder {
		return engine.ErrLost
	}
	return engine.ErrClaimed
}
