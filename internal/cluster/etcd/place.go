package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
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
	if s.revision != kv.ModRevision { // also a lower one, of an etcd that has gone back: the holder lives
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
	r, err := e.c.Txn(ctx).If(e.own()...).Then(clientv3.OpPut(e.place, e.holder), places).Commit()
	if err != nil {
		return err
	}
	if !r.Succeeded {
		return engine.ErrLost
	}
	for _, kv := range r.Responses[1].GetResponseRange().Kvs {
		if string(kv.Key) != e.place && e.mine(kv) {
			e.abandoned(ctx, kv) // else at the next one
		}
	}
	return nil
}

// own compares the place with the one that was granted. Its revision alone isn't
// enough: an etcd that has gone back uses numbers a second time.
func (e *Etcd) own() []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(e.place), "=", e.made), clientv3.Compare(clientv3.Value(e.place), "=", e.holder)}
}

func (e *Etcd) mine(kv *mvccpb.KeyValue) bool {
	var w who
	return json.Unmarshal(kv.Value, &w) == nil && w.ID == e.id
}

// Acquire makes the key of the first free place. Its fence is the revision that
// makes it, plus the offset that the name has in this etcd.
func (e *Etcd) Acquire(ctx context.Context, above uint64) (engine.Grant, error) {
	if e.lease == 0 {
		return engine.Grant{}, engine.ErrLost
	}
	places := clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix())
	self := e.key("member", e.id)
	got, err := e.c.Txn(ctx).Then(places, clientv3.OpGet(e.key("fence"))).Commit()
	if err != nil {
		return engine.Grant{}, refine(err)
	}
	for {
		if e.strange(got.Header) {
			return engine.Grant{}, &engine.Taken{}
		}
		last := len(got.Responses)
		offset, was := offsetOf(got.Responses[last-1].GetResponseRange().Kvs)
		place, mine, after := e.free(ctx, got.Responses[last-2].GetResponseRange().Kvs)
		if mine != nil { // of a request whose answer was lost; the others' time runs since then
			e.take(mine)
			if err := e.rewrite(ctx); err != nil {
				e.place, e.made = "", 0
				return engine.Grant{}, refine(err)
			}
			return engine.Grant{Fence: fenceOf(mine)}, nil
		}
		if place == "" {
			return engine.Grant{}, &engine.Taken{After: after}
		}
		if int64(above) > got.Header.Revision+offset { // it has gone back
			offset = int64(above) - got.Header.Revision
		}
		text, _ := json.Marshal(who{Node: e.m.Node, Since: time.Now().UTC(), ID: e.id, TTL: (e.m.TTL + time.Millisecond - 1).Milliseconds(), Offset: offset})
		e.holder = string(text)
		r, err := e.c.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(place), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(self), ">", 0),
			clientv3.Compare(clientv3.Value(e.key("options")), "=", e.m.Options),
			clientv3.Compare(clientv3.ModRevision(e.key("fence")), "=", was),
		).Then(clientv3.OpPut(place, e.holder), clientv3.OpPut(e.key("fence"), strconv.FormatInt(offset, 10))).
			Else(clientv3.OpGet(self), clientv3.OpGet(e.key("options")), places, clientv3.OpGet(e.key("fence"))).Commit()
		if err != nil {
			return engine.Grant{}, refine(err)
		}
		if r.Succeeded {
			e.place, e.made = place, r.Header.Revision
			fence := uint64(e.made + offset)
			if e.strange(r.Header) || fence <= above { // it went back in between
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

// take takes up a place that was made for this session.
func (e *Etcd) take(kv *mvccpb.KeyValue) {
	e.place, e.made, e.holder = string(kv.Key), kv.CreateRevision, string(kv.Value)
}

func fenceOf(kv *mvccpb.KeyValue) uint64 {
	var w who
	_ = json.Unmarshal(kv.Value, &w)
	return uint64(kv.CreateRevision + w.Offset)
}

// offsetOf reads how much fences are above revisions.
func offsetOf(kvs []*mvccpb.KeyValue) (offset, revision int64) {
	if len(kvs) == 0 {
		return 0, 0
	}
	offset, _ = strconv.ParseInt(string(kvs[0].Value), 10, 64)
	return max(offset, 0), kvs[0].ModRevision
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
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision), clientv3.Compare(clientv3.Value(key), "=", string(kv.Value))).
		Then(clientv3.OpDelete(key)).Commit()
	return err == nil && r.Succeeded
}

// Release deletes the very key that Acquire made.
func (e *Etcd) Release(ctx context.Context) error {
	if e.place == "" {
		return nil
	}
	_, err := e.c.Txn(ctx).If(e.own()...).Then(clientv3.OpDelete(e.place)).Commit()
	if err == nil {
		e.place, e.made = "", 0
	}
	return refine(err)
}
