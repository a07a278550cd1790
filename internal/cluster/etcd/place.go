package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// sight is when a place as it was written then was seen first, here.
type sight struct {
	revision int64
	at       time.Time
}

// left is how long the holder of a place may still be at work.
func (e *Etcd) left(kv *mvccpb.KeyValue) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.seen[string(kv.Key)]
	if s.revision < kv.ModRevision {
		s = sight{kv.ModRevision, time.Now()}
		e.seen[string(kv.Key)] = s
	}
	ttl := time.Minute // of what can't be read
	var w who
	if json.Unmarshal(kv.Value, &w) == nil && w.TTL > 0 {
		ttl = time.Duration(w.TTL) * time.Millisecond
	}
	return ttl - time.Since(s.at)
}

// rewrite writes the place that is ours again. A second one, made late by a
// request that nobody waited for any more, is another node's to have.
func (e *Etcd) rewrite(ctx context.Context) error {
	places := clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix())
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(e.place), "=", e.fence)).
		Then(clientv3.OpPut(e.place, e.holder), places).Commit()
	if err != nil {
		return err
	}
	if !r.Succeeded {
		return engine.ErrLost
	}
	for _, kv := range r.Responses[1].GetResponseRange().Kvs {
		if string(kv.Key) != e.place && e.mine(kv) {
			_ = e.remove(ctx, string(kv.Key), kv.CreateRevision) // else at the next one
		}
	}
	return nil
}

func (e *Etcd) mine(kv *mvccpb.KeyValue) bool {
	var w who
	return json.Unmarshal(kv.Value, &w) == nil && w.ID == e.id
}

// Acquire makes the key of the first free place.
func (e *Etcd) Acquire(ctx context.Context) (engine.Grant, error) {
	if e.lease == 0 {
		return engine.Grant{}, engine.ErrLost
	}
	text, _ := json.Marshal(who{e.m.Node, time.Now().UTC(), e.id, (e.m.TTL + time.Millisecond - 1).Milliseconds()})
	e.holder = string(text)
	places := clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix())
	self := e.key("member", e.id)
	var kvs []*mvccpb.KeyValue
	if e.m.Slots > 1 { // the only place there is can be tried right away
		got, err := e.c.Do(ctx, places)
		if err != nil {
			return engine.Grant{}, refine(err)
		}
		kvs = got.Get().Kvs
	}
	for {
		place, mine, after := e.free(ctx, kvs)
		if mine != nil { // of a request whose answer was lost; the others' time runs since then
			e.place, e.fence, e.holder = string(mine.Key), mine.CreateRevision, string(mine.Value)
			if err := e.rewrite(ctx); err != nil {
				e.place, e.fence = "", 0
				return engine.Grant{}, refine(err)
			}
			return engine.Grant{Fence: uint64(e.fence)}, nil
		}
		if place == "" {
			return engine.Grant{}, &engine.Taken{After: after}
		}
		r, err := e.c.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(place), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(self), ">", 0),
		).Then(clientv3.OpPut(place, e.holder)).
			Else(clientv3.OpGet(self), places).Commit()
		if err != nil {
			return engine.Grant{}, refine(err)
		}
		if r.Succeeded {
			e.place, e.fence = place, r.Header.Revision
			return engine.Grant{Fence: uint64(e.fence)}, nil
		}
		if len(r.Responses[0].GetResponseRange().Kvs) == 0 {
			return engine.Grant{}, engine.ErrLost
		}
		kvs = r.Responses[1].GetResponseRange().Kvs
	}
}

// free is the first place that nobody has, the one that is ours, or how long
// to wait for one. What has no holder any more is removed.
func (e *Etcd) free(ctx context.Context, taken []*mvccpb.KeyValue) (place string, mine *mvccpb.KeyValue, after time.Duration) {
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
		if place := e.key("place", fmt.Sprintf("%05d", n)); !used[place] {
			return place, nil, 0
		}
	}
	return "", nil, after
}

// abandoned removes a place, if it hasn't been written since.
func (e *Etcd) abandoned(ctx context.Context, kv *mvccpb.KeyValue) bool {
	key := string(kv.Key)
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).Then(clientv3.OpDelete(key)).Commit()
	return err == nil && r.Succeeded
}

// Release deletes the very key that Acquire made.
func (e *Etcd) Release(ctx context.Context) error {
	if e.place == "" {
		return nil
	}
	err := e.remove(ctx, e.place, e.fence)
	if err == nil {
		e.place, e.fence = "", 0
	}
	return refine(err)
}

func (e *Etcd) remove(ctx context.Context, place string, fence int64) error {
	_, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(place), "=", fence)).Then(clientv3.OpDelete(place)).Commit()
	return err
}
