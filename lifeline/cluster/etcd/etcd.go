// Package etcd is the engine on etcd 3.4 or later.
//
//	etcd://HOST:2379,HOST:2379             etcds:// for TLS with the system's authorities
//	etcd://HOST?cacert=FILE&cert=FILE&key=FILE    TLS with these files
//
// Keys, below /lifeline/v2/NAME/:
//
//	member/ID      who stands by or holds, as JSON; it hangs on a lease of etcd
//	place/N        held by the session that made it; the revision that made it
//	               is the fence: revisions of etcd only rise
//	wish           the node that is to have the name
//	mark           how far the ticks have been run
//
// A place hangs on no lease. A member of etcd that was the leader, stood still
// and goes on, may end leases that have been renewed at the new leader
// meanwhile (etcd's issue 15247; what 3.6 does about it leaves a moment open).
// So the holder writes its place again and again, which takes a majority, and
// whoever wants it measures by its own clock: what hasn't been written for a
// whole TTL since it was seen first, and still isn't when it is deleted, has
// no holder.
package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3" // etcd's own client

	"lifeline/lifeline/cluster/engine"
)

const (
	root    = "/lifeline/"
	layout  = "2" // of the keys
	version = root + "version"
	names   = root + "v" + layout + "/"
)

// Etcd is the engine.
type Etcd struct {
	c       *clientv3.Client
	name    string
	m       engine.Member
	lease   clientv3.LeaseID // of the member's key; 0 for no session
	id      string           // of the session
	place   string           // key, "" for none
	fence   int64
	holder  string // what is written there
	changes chan struct{}
	stop    context.CancelFunc
	over    sync.WaitGroup

	mu   sync.Mutex
	seen map[string]sight // of places, by key
}

// sight is when a place as it was written then was seen first, here.
type sight struct {
	revision int64
	at       time.Time
}

type who struct {
	Node  string    `json:"node"`
	Since time.Time `json:"since"`
	ID    string    `json:"id"`
	TTL   int64     `json:"ttl,omitempty"` // of a place, in milliseconds
}

func (e *Etcd) key(parts ...string) string { return names + e.name + "/" + strings.Join(parts, "/") }

// Changes rings when a key of the name has changed.
func (e *Etcd) Changes() <-chan struct{} { return e.changes }

// Close ends the connection, not the session.
func (e *Etcd) Close() {
	e.stop()
	e.over.Wait()
	_ = e.c.Close()
}

// watch rings until ctx ends. The watcher of the client goes on after a
// disconnection by itself; where etcd gives it up, it is begun again.
func (e *Etcd) watch(ctx context.Context) {
	defer e.over.Done()
	for ctx.Err() == nil {
		// The first thing it tells is that it watches: what was before may have
		// gone unseen.
		for r := range e.c.Watch(clientv3.WithRequireLeader(ctx), e.key(), clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
			if r.Err() != nil {
				break
			}
			if e.news(r) {
				select {
				case e.changes <- struct{}{}:
				default:
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// news notes what was heard of places, and reports whether anything else was:
// that one was written again is what happens all the time.
func (e *Etcd) news(r clientv3.WatchResponse) bool {
	news := len(r.Events) == 0
	for _, event := range r.Events {
		if !strings.HasPrefix(string(event.Kv.Key), e.key("place", "")) || !event.IsModify() {
			news = true
		}
		if event.Type == mvccpb.PUT {
			e.left(event.Kv)
		}
	}
	return news
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

// Join makes a member's key. A place's TTL is what was asked for; the lease
// that the member's key hangs on may be longer.
func (e *Etcd) Join(ctx context.Context, m engine.Member) (time.Duration, error) {
	e.m, e.lease, e.id, e.place = m, 0, "", ""
	if err := e.enlist(ctx); err != nil {
		return 0, refine(err)
	}
	return m.TTL, nil
}

// enlist makes the member's key, with a lease.
func (e *Etcd) enlist(ctx context.Context) error {
	g, err := e.c.Grant(ctx, int64((e.m.TTL+time.Second-1)/time.Second))
	if err != nil {
		return err
	}
	if e.id == "" {
		e.id = strconv.FormatInt(int64(g.ID), 16)
	}
	text, _ := json.Marshal(who{Node: e.m.Node, Since: time.Now().UTC(), ID: e.id})
	put := clientv3.OpPut(e.key("member", e.id), string(text), clientv3.WithLease(g.ID))
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(version), "=", 0)).
		Then(clientv3.OpPut(version, layout), put).Else(clientv3.OpGet(version), put).Commit()
	if err == nil && !r.Succeeded {
		if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 && string(kvs[0].Value) != layout {
			err = engine.Refuse("in this etcd is the layout %q of another version of lifeline-remote (key %s), this one knows %s: install the same one on all nodes", kvs[0].Value, version, layout)
		}
	}
	if err != nil {
		e.revoke(g.ID)
		return err
	}
	e.lease = g.ID
	return nil
}

func (e *Etcd) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = e.c.Revoke(ctx, lease) // else it ends by itself
}

// Renew writes the place again, where one is held. That counts: whatever comes
// of the lease is no reason to give the place up.
func (e *Etcd) Renew(ctx context.Context) (time.Duration, error) {
	if e.lease == 0 {
		return 0, engine.ErrLost
	}
	if e.place != "" {
		if err := e.rewrite(ctx); err != nil {
			return 0, refine(err)
		}
	}
	_, err := e.c.KeepAliveOnce(ctx, e.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) && e.place != "" {
		err = e.enlist(ctx)
	}
	if err != nil && e.place == "" {
		return 0, refine(err)
	}
	return e.m.TTL, nil
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

// Leave gives back the place, and revokes the lease of the member's key.
func (e *Etcd) Leave(ctx context.Context) error {
	if e.lease == 0 {
		return nil
	}
	if err := e.Release(ctx); err != nil {
		return err
	}
	_, err := e.c.Revoke(ctx, e.lease)
	if err = refine(err); err != nil && !errors.Is(err, engine.ErrLost) {
		return err
	}
	e.lease, e.place, e.fence = 0, "", 0
	return nil
}

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

// refine tells what will never get better from what may.
func refine(err error) error {
	var refused *engine.Refused
	switch {
	case err == nil, errors.As(err, &refused):
		return err
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return engine.ErrLost
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return engine.Refuse("etcd doesn't take this user and password: see %s and %s", engine.EnvUser, engine.EnvPasswordFile)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return engine.Refuse("etcd wants a user and a password: set %s, and %s or %s", engine.EnvUser, engine.EnvPassword, engine.EnvPasswordFile)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return engine.Refuse("etcd's user has no permission for the keys below %s: etcdctl role grant-permission ROLE readwrite --prefix=true %s", root, root)
	case errors.Is(err, rpctypes.ErrLeaseTTLTooLarge):
		return engine.Misused("--ttl is larger than etcd allows")
	}
	text := err.Error()
	for _, sign := range []string{"x509: ", "tls: "} { // the client says so in words alone
		if i := strings.Index(text, sign); i >= 0 {
			return engine.Refuse("no TLS connection to etcd: %s", strings.TrimRight(text[i:], `" `))
		}
	}
	return err
}
