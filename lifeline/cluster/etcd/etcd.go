// Package etcd is the engine on etcd 3.4 or later.
//
//	etcd://HOST:2379,HOST:2379             etcds:// for TLS with the system's authorities
//	etcd://HOST?cacert=FILE&cert=FILE&key=FILE    TLS with these files
//
// A session is a lease; all that it puts hangs on that, and goes with it. Keys,
// below /lifeline/v1/NAME/:
//
//	member/LEASE   who stands by or holds, as JSON
//	place/N        held by the session that made it; the revision that made it
//	               is the fence: revisions of etcd only rise
//	wish           the node that is to have the name
//	mark           how far the ticks have been run
package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	layout  = "1" // of the keys
	version = root + "version"
	names   = root + "v" + layout + "/"
)

// Etcd is the engine.
type Etcd struct {
	c       *clientv3.Client
	name    string
	m       engine.Member
	lease   clientv3.LeaseID // 0 for no session
	place   string           // key, "" for none
	fence   int64
	changes chan struct{}
	stop    context.CancelFunc
	over    sync.WaitGroup
}

type who struct {
	Node  string    `json:"node"`
	Since time.Time `json:"since"`
	ID    string    `json:"id"`
}

func (e *Etcd) key(parts ...string) string { return names + e.name + "/" + strings.Join(parts, "/") }

func id(lease clientv3.LeaseID) string { return strconv.FormatInt(int64(lease), 16) }

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
			select {
			case e.changes <- struct{}{}:
			default:
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Join grants a lease and says who is there.
func (e *Etcd) Join(ctx context.Context, m engine.Member) (time.Duration, error) {
	e.m, e.lease, e.place = m, 0, ""
	seconds := int64((m.TTL + time.Second - 1) / time.Second)
	g, err := e.c.Grant(ctx, seconds)
	if err != nil {
		return 0, refine(err)
	}
	text, _ := json.Marshal(who{m.Node, time.Now().UTC(), id(g.ID)})
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(version), "=", 0)).
		Then(clientv3.OpPut(version, layout), clientv3.OpPut(e.key("member", id(g.ID)), string(text), clientv3.WithLease(g.ID))).
		Else(clientv3.OpGet(version), clientv3.OpPut(e.key("member", id(g.ID)), string(text), clientv3.WithLease(g.ID))).Commit()
	if err == nil && !r.Succeeded {
		if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 && string(kvs[0].Value) != layout {
			err = engine.Refuse("in this etcd is the layout %q of another version of lifeline-remote (key %s), this one knows %s: install the same one on all nodes", kvs[0].Value, version, layout)
		}
	}
	if err != nil {
		e.revoke(g.ID)
		return 0, refine(err)
	}
	e.lease = g.ID
	return time.Duration(g.TTL) * time.Second, nil
}

func (e *Etcd) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = e.c.Revoke(ctx, lease) // else it ends by itself
}

// Renew keeps the lease alive by its id. That the place is still the one that
// we made is looked at, too: keys can be deleted by hand.
func (e *Etcd) Renew(ctx context.Context) (time.Duration, error) {
	if e.lease == 0 {
		return 0, engine.ErrLost
	}
	r, err := e.c.KeepAliveOnce(ctx, e.lease)
	if err != nil {
		return 0, refine(err)
	}
	if e.place != "" {
		if err := e.still(ctx); err != nil {
			return 0, refine(err)
		}
	}
	return time.Duration(r.TTL) * time.Second, nil
}

// still looks whether the place is ours. A second one, made late by a request
// that nobody waited for any more, is another node's to have.
func (e *Etcd) still(ctx context.Context) error {
	got, err := e.c.Get(ctx, e.key("place", ""), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	err = engine.ErrLost
	for _, kv := range got.Kvs {
		switch {
		case string(kv.Key) == e.place && kv.CreateRevision == e.fence:
			err = nil
		case kv.Lease == int64(e.lease):
			_ = e.remove(ctx, string(kv.Key), kv.CreateRevision) // else at the next one
		}
	}
	return err
}

// Acquire makes the key of the first free place.
func (e *Etcd) Acquire(ctx context.Context) (engine.Grant, error) {
	if e.lease == 0 {
		return engine.Grant{}, engine.ErrLost
	}
	text, _ := json.Marshal(who{e.m.Node, time.Now().UTC(), id(e.lease)})
	places := clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix())
	self := e.key("member", id(e.lease))
	var kvs []*mvccpb.KeyValue
	if e.m.Slots > 1 { // the only place there is can be tried right away
		got, err := e.c.Do(ctx, places)
		if err != nil {
			return engine.Grant{}, refine(err)
		}
		kvs = got.Get().Kvs
	}
	for {
		place, mine := e.free(kvs)
		if mine != nil { // of a request whose answer was lost
			e.place, e.fence = string(mine.Key), mine.CreateRevision
			return engine.Grant{Fence: uint64(e.fence)}, nil
		}
		if place == "" {
			return engine.Grant{}, &engine.Taken{}
		}
		r, err := e.c.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(place), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(self), ">", 0),
		).Then(clientv3.OpPut(place, string(text), clientv3.WithLease(e.lease))).
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

// free is the first place that nobody has; or the one that is ours.
func (e *Etcd) free(taken []*mvccpb.KeyValue) (place string, mine *mvccpb.KeyValue) {
	for _, kv := range taken {
		if kv.Lease == int64(e.lease) {
			return "", kv
		}
	}
	for n := range e.m.Slots {
		place := e.key("place", fmt.Sprintf("%05d", n))
		if !slices.ContainsFunc(taken, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == place }) {
			return place, nil
		}
	}
	return "", nil
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

// Leave revokes the lease, and with it all its keys.
func (e *Etcd) Leave(ctx context.Context) error {
	if e.lease == 0 {
		return nil
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
	return states(got.Kvs, id(e.lease)), nil
}

func states(kvs []*mvccpb.KeyValue, mine string) []engine.State {
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
			slot := -1
			if parts[1] == "place" {
				slot, _ = strconv.Atoi(parts[2])
			}
			if old, ok := members[s.Name][w.ID]; ok && old.Slot > slot {
				continue
			}
			st := engine.Status{ID: w.ID, Node: w.Node, Since: w.Since, Slot: slot, Mine: w.ID == mine}
			if slot >= 0 {
				st.Fence = uint64(kv.CreateRevision)
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
