package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// observation is when this node first saw a slot at its present revision.
type observation struct {
	revision int64
	at       time.Time
}

// left returns how long the holder of a slot may still be at work.
func (e *Etcd) left(kv *mvccpb.KeyValue) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.seen[string(kv.Key)]
	if s.revision != kv.ModRevision { // also a lower revision, of an etcd that has gone back: the holder lives
		s = observation{kv.ModRevision, time.Now()}
		e.seen[string(kv.Key)] = s
	}
	ttl := time.Minute // of a slot that can't be read
	var w who
	if json.Unmarshal(kv.Value, &w) == nil && w.TTL > 0 {
		ttl = time.Duration(w.TTL) * time.Millisecond
	}
	return ttl - time.Since(s.at)
}

// rewrite writes this session's slot again. It also frees a second slot, which a late
// request may have made.
func (e *Etcd) rewrite(ctx context.Context) error {
	slots := clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix())
	r, err := e.c.Txn(ctx).If(e.own()...).Then(clientv3.OpPut(e.slot, e.holder), slots).Commit()
	if err != nil {
		return err
	}
	if !r.Succeeded {
		return engine.ErrLost
	}
	for _, kv := range r.Responses[1].GetResponseRange().Kvs {
		if string(kv.Key) != e.slot && e.mine(kv) {
			e.abandoned(ctx, kv) // else the next rewrite frees the slot
		}
	}
	return nil
}

// own returns the conditions that the slot is this session's. They compare more than the
// revision, because an etcd that has gone back uses revisions a second time.
func (e *Etcd) own() []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(e.slot), "=", e.made),
		clientv3.Compare(clientv3.Value(e.slot), "=", e.holder)}
}

func (e *Etcd) mine(kv *mvccpb.KeyValue) bool {
	var w who
	return json.Unmarshal(kv.Value, &w) == nil && w.ID == e.id
}

// Acquire makes the key of the first free slot. The fence is the key's creation revision,
// plus the name's offset.
func (e *Etcd) Acquire(ctx context.Context, above uint64) (engine.Grant, error) {
	if e.lease == 0 {
		return engine.Grant{}, engine.ErrLost
	}
	slots := clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix())
	self := e.key("member", e.id)
	got, err := e.c.Txn(ctx).Then(slots, clientv3.OpGet(e.key("fence"))).Commit()
	if err != nil {
		return engine.Grant{}, e.refine(err)
	}
	for {
		if e.strange(got.Header) {
			return engine.Grant{}, &engine.Taken{}
		}
		last := len(got.Responses)
		offset, was := offsetOf(got.Responses[last-1].GetResponseRange().Kvs)
		slot, mine, after := e.free(ctx, got.Responses[last-2].GetResponseRange().Kvs)
		if mine != nil { // made by a request whose answer was lost
			e.take(mine)
			if err := e.rewrite(ctx); err != nil {
				e.slot, e.made = "", 0
				return engine.Grant{}, e.refine(err)
			}
			if fenceOf(mine) <= above { // made at a time to which etcd has gone back
				return engine.Grant{}, cmp.Or(e.Release(ctx), error(&engine.Taken{}))
			}
			return engine.Grant{Fence: fenceOf(mine)}, nil
		}
		if slot == "" {
			return engine.Grant{}, &engine.Taken{After: after}
		}
		if int64(above) > got.Header.Revision+offset { // etcd has gone back
			offset = int64(above) - got.Header.Revision
		}
		text, _ := json.Marshal(who{Node: e.m.Node, Since: time.Now().UTC(), ID: e.id,
			TTL: (e.m.TTL + time.Millisecond - 1).Milliseconds(), Offset: offset})
		e.holder = string(text)
		r, err := e.c.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(slot), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(self), ">", 0),
			clientv3.Compare(clientv3.Value(e.key("options")), "=", e.m.Options),
			clientv3.Compare(clientv3.ModRevision(e.key("fence")), "=", was),
		).Then(clientv3.OpPut(slot, e.holder), clientv3.OpPut(e.key("fence"), strconv.FormatInt(offset, 10))).
			Else(clientv3.OpGet(self), clientv3.OpGet(e.key("options")), slots, clientv3.OpGet(e.key("fence"))).Commit()
		if err != nil {
			return engine.Grant{}, e.refine(err)
		}
		if r.Succeeded {
			e.slot, e.made = slot, r.Header.Revision
			fence := uint64(e.made + offset)
			if e.strange(r.Header) || fence <= above { // etcd went back during the call
				return engine.Grant{}, cmp.Or(e.Release(ctx), error(&engine.Taken{}))
			}
			return engine.Grant{Fence: fence}, nil
		}
		if kvs := r.Responses[1].GetResponseRange().Kvs; len(r.Responses[0].GetResponseRange().Kvs) == 0 ||
			len(kvs) == 0 || string(kvs[0].Value) != e.m.Options {
			return engine.Grant{}, engine.ErrLost
		}
		got = r
	}
}

// take notes a slot that an earlier request made for this session.
func (e *Etcd) take(kv *mvccpb.KeyValue) {
	e.slot, e.made, e.holder = string(kv.Key), kv.CreateRevision, string(kv.Value)
}

func fenceOf(kv *mvccpb.KeyValue) uint64 {
	var w who
	_ = json.Unmarshal(kv.Value, &w)
	return uint64(kv.CreateRevision + w.Offset)
}

// offsetOf reads the offset of fences above revisions.
func offsetOf(kvs []*mvccpb.KeyValue) (offset, revision int64) {
	if len(kvs) == 0 {
		return 0, 0
	}
	offset, _ = strconv.ParseInt(string(kvs[0].Value), 10, 64)
	return max(offset, 0), kvs[0].ModRevision
}

// free returns the first free slot, the slot that this session has (mine), or how long to
// wait for a slot. It removes slots whose holder is gone.
func (e *Etcd) free(ctx context.Context, taken []*mvccpb.KeyValue) (slot string, mine *mvccpb.KeyValue,
	after time.Duration) {
	used := map[string]bool{}
	for _, kv := range taken {
		left := e.left(kv)
		switch {
		case e.mine(kv):
			return "", kv, 0
		case left <= 0 && e.abandoned(ctx, kv):
			continue
		case after == 0 || left < after:
			after = max(left, time.Millisecond)
		}
		used[string(kv.Key)] = true
	}
	for n := range e.m.Slots {
		if slot := e.key("place", fmt.Sprintf("%05d", n)); !used[slot] {
			return slot, nil, 0
		}
	}
	return "", nil, after
}

// abandoned removes a slot that still has kv's revision and value, and reports success.
func (e *Etcd) abandoned(ctx context.Context, kv *mvccpb.KeyValue) bool {
	key := string(kv.Key)
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision),
		clientv3.Compare(clientv3.Value(key), "=", string(kv.Value))).
		Then(clientv3.OpDelete(key)).Commit()
	return err == nil && r.Succeeded
}

// Forget removes the keys of a name, except that of its fences. It removes a slot
// without a member after a whole TTL without a write, by this machine's clock.
func (e *Etcd) Forget(ctx context.Context, name string) error {
	prefix := names + name + "/"
	for {
		got, err := e.c.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return e.refine(err)
		}
		var alive []string
		var wait time.Duration
		cmps := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(prefix+"member/").WithPrefix(), "=", 0)}
		var deletes []clientv3.Op
		for _, kv := range got.Kvs {
			key := string(kv.Key)
			var w who
			switch {
			case strings.HasPrefix(key, prefix+"member/"):
				_ = json.Unmarshal(kv.Value, &w)
				alive = append(alive, w.Node)
				continue
			case strings.HasPrefix(key, prefix+"place/"):
				wait = max(wait, e.left(kv))
			case key == prefix+"fence": // else nodes that remember a fence take etcd for one that has gone back
				continue
			}
			cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision))
			deletes = append(deletes, clientv3.OpDelete(key))
		}
		switch {
		case len(alive) > 0:
			return engine.Lives(name, alive)
		case len(deletes) == 0:
			return nil
		case wait > 0:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			continue
		}
		deletes = append(deletes, clientv3.OpDelete(runs+name+"/", clientv3.WithPrefix()),
			clientv3.OpDelete(shares+name+"/", clientv3.WithPrefix()))
		r, err := e.c.Txn(ctx).If(cmps...).Then(deletes...).Commit()
		if err != nil || r.Succeeded {
			return e.refine(err)
		}
	}
}

// Release deletes the key that Acquire made.
func (e *Etcd) Release(ctx context.Context) error {
	if e.slot == "" {
		return nil
	}
	_, err := e.c.Txn(ctx).If(e.own()...).Then(clientv3.OpDelete(e.slot)).Commit()
	if err == nil {
		e.slot, e.made = "", 0
	}
	return e.refine(err)
}
