// Package etcd is the engine on etcd 3.4 or later.
//
//	etcd://HOST:2379,HOST:2379             etcds:// for TLS with the system's authorities
//	etcd://HOST?cacert=FILE&cert=FILE&key=FILE    TLS with these files
//
// Keys, below /lifeline/v2/NAME/, or /TEAM/lifeline/v2/NAME/ with --cluster-prefix:
//
//	member/ID      a standby or holder, as JSON; the key hangs on a lease of etcd
//	place/N        a slot, held by the session that made the key; the revision
//	               that made it, plus the offset then, is the fence
//	fence          the offset, written with each grant: it rises when an etcd has
//	               gone back (restored); its revision plus it is the latest fence
//	options        what all nodes agree on
//	wish           the node that is to have the name
//	mark           how far the scheduled runs have come
//
// The key /lifeline/drain/NODE keeps a node from taking a lease. Keys below
// /lifeline/run/NAME/ are the latest scheduled runs. A key /lifeline/status/NAME/NODE
// is what a node has shared, with a lease of its own.
//
// The key of a slot has no lease of etcd. A former leader of etcd that was stopped
// and goes on may end leases that the new leader has renewed. This is etcd's issue
// 15247, which 3.6 solves only in part. So the holder writes its slot again and
// again, which takes a majority. A standby measures by its own clock: a slot that
// is unwritten for a whole TTL has no holder. The standby's delete requires that
// the slot is still unwritten.
package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3" // etcd's own client

	"lifeline/internal/cluster/engine"
)

const (
	root    = "/lifeline/"
	layout  = "2" // of the keys
	version = root + "version"
	names   = root + "v" + layout + "/"
	drains  = root + "drain/"
	runs    = root + "run/" // beside the names, which are read often
	shares  = root + "status/"
)

// space is a team, whose keys are below /TEAM/lifeline/; "" for those below /lifeline/.
type space string

// of returns the prefix of the team's keys, which package namespace adds to each key of a
// connection.
func (s space) of() string {
	if s == "" {
		return ""
	}
	return "/" + string(s)
}

// Etcd is the engine.
type Etcd struct {
	space
	typed   string           // the address
	c       *clientv3.Client // of the calls
	config  *clientv3.Config
	beat    *beat // nil until a lease is renewed
	name    string
	m       engine.Member
	lease   clientv3.LeaseID // of the member's key; 0 for no session
	who     who              // what the member's key says
	id      string           // of the session
	slot    string           // key, "" for none
	made    int64            // the revision that made it
	holder  string           // the value of the slot's key
	http    *http.Client     // for the clock
	dates   bool             // etcd's HTTP servers have told their clock before
	changes chan struct{}
	stop    context.CancelFunc
	over    sync.WaitGroup

	mu   sync.Mutex
	now  *clientv3.Client       // the client for the watch
	next *dial                  // the client that is to follow; nil for none
	seen map[string]observation // of slots, by key

	epoch    string // at the last Look
	revision int64  // the highest seen in it

	sharing clientv3.LeaseID // of the shared status's key; 0 before it is known
}

type who struct {
	Node  string    `json:"node"`
	Since time.Time `json:"since"`
	ID    string    `json:"id"`
	TTL   int64     `json:"ttl,omitempty"` // of a slot, in milliseconds

	Ahead *time.Duration `json:"ahead,omitempty"` // of a member: its clock, in nanoseconds
	Wall  time.Time      `json:"wall,omitzero"`   // of a member: its clock when it wrote this

	Offset int64 `json:"offset,omitempty"` // of a slot: its fence minus its revision
}

func (e *Etcd) key(parts ...string) string { return names + e.name + "/" + strings.Join(parts, "/") }

// Changes returns a channel that rings when a key of the name has changed.
func (e *Etcd) Changes() <-chan struct{} { return e.changes }

// Close ends the connection, not the session.
func (e *Etcd) Close() {
	e.stop()
	e.over.Wait()
	e.endBeat()
	_ = e.c.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next.abandon()
	e.next = nil
}

// watch rings at each change of the name's keys, until ctx ends. The client reconnects its
// watch by itself. When etcd cancels the watch, watch begins another.
func (e *Etcd) watch(ctx context.Context) {
	defer e.over.Done()
	for ctx.Err() == nil {
		// The first response says that the watch has begun. Changes before it may
		// have been missed, so this response rings, too.
		for r := range e.latest().Watch(clientv3.WithRequireLeader(ctx), e.of()+e.key(), clientv3.WithPrefix(),
			clientv3.WithCreatedNotify()) {
			if r.Err() != nil {
				break
			}
			for _, event := range r.Events {
				event.Kv.Key = event.Kv.Key[len(e.of()):]
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

func (e *Etcd) latest() *clientv3.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// news notes the writes of slots, and reports whether r has other changes than rewritten
// slots and members.
func (e *Etcd) news(r clientv3.WatchResponse) bool {
	news := len(r.Events) == 0
	for _, event := range r.Events {
		if key := string(event.Kv.Key); !event.IsModify() || !strings.HasPrefix(key, e.key("place", "")) &&
			!strings.HasPrefix(key, e.key("member", "")) {
			news = true
		}
		if event.Type == mvccpb.PUT && strings.HasPrefix(string(event.Kv.Key), e.key("place", "")) {
			e.left(event.Kv)
		}
	}
	return news
}

// Join makes a member's key. It grants the TTL that was asked for; the lease of the
// member's key may be longer.
func (e *Etcd) Join(ctx context.Context, m engine.Member) (time.Duration, error) {
	e.m, e.lease, e.id, e.slot, e.made = m, 0, "", "", 0
	if err := e.agree(ctx); err != nil {
		return 0, e.refine(err)
	}
	if err := e.enlist(ctx); err != nil {
		return 0, e.refine(err)
	}
	return m.TTL, nil
}

// agree compares the options with those in etcd. A name without nodes takes new
// options.
func (e *Etcd) agree(ctx context.Context) error {
	key := e.key("options")
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key,
		e.m.Options)).
		Else(clientv3.OpGet(key), clientv3.OpGet(e.key("member", ""), clientv3.WithPrefix(), clientv3.WithCountOnly()),
			clientv3.OpGet(e.key("place", ""), clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
	if err != nil || r.Succeeded {
		return err
	}
	kv := r.Responses[0].GetResponseRange().Kvs[0]
	if string(kv.Value) == e.m.Options {
		return nil
	}
	if !e.m.Force && r.Responses[1].GetResponseRange().Count+r.Responses[2].GetResponseRange().Count > 0 {
		return engine.Disagree(string(kv.Value), e.m.Options)
	}
	_, err = e.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).Then(clientv3.OpPut(key,
		e.m.Options)).Commit()
	return err
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
	e.who = who{Node: e.m.Node, Since: time.Now().UTC(), ID: e.id, Ahead: e.who.Ahead}
	text, _ := json.Marshal(e.who)
	put := clientv3.OpPut(e.key("member", e.id), string(text), clientv3.WithLease(g.ID))
	r, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(version), "=", 0)).
		Then(clientv3.OpPut(version, layout), put).Else(clientv3.OpGet(version), put).Commit()
	if err == nil && !r.Succeeded {
		if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 && string(kvs[0].Value) != layout {
			err = engine.Refuse("in this etcd is the layout %q of another version of lifeline-remote (key %s), this "+
				"one knows %s: install the same one on all nodes", kvs[0].Value, version, layout)
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
	_, _ = e.c.Revoke(ctx, lease) // otherwise the lease ends by itself
}

// Renew writes the session's slot again, then renews the member's lease. A holder's
// failure to renew the lease is ignored, because only the slot counts.
func (e *Etcd) Renew(ctx context.Context) (time.Duration, error) {
	if e.lease == 0 {
		return 0, engine.ErrLost
	}
	e.takeUpReady()
	if e.slot != "" {
		if err := e.rewrite(ctx); err != nil {
			return 0, e.refine(err)
		}
	}
	err := e.keepAlive(ctx, e.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) && e.slot != "" {
		err = e.enlist(ctx)
	}
	if err != nil && e.slot == "" {
		return 0, e.refine(err)
	}
	return e.m.TTL, nil
}

// Leave gives back the slot, and revokes the lease of the member's key.
func (e *Etcd) Leave(ctx context.Context) error {
	if e.lease == 0 {
		return nil
	}
	if err := e.Release(ctx); err != nil {
		return err
	}
	_, err := e.c.Revoke(ctx, e.lease)
	if err = e.refine(err); err != nil && !errors.Is(err, engine.ErrLost) {
		return err
	}
	e.lease, e.slot, e.made = 0, "", 0
	return nil
}

// Test writes the version's key again, or for the first time.
func (e *Etcd) Test(ctx context.Context) error {
	_, err := e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(version), "=", 0)).Then(clientv3.OpPut(version,
		layout)).
		Else(clientv3.OpPut(version, "", clientv3.WithIgnoreValue())).Commit()
	return e.refine(err)
}

// refine turns errors that stay until an operator acts into Refused.
func (s space) refine(err error) error {
	var refused *engine.Refused
	switch {
	case err == nil, errors.As(err, &refused):
		return err
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return engine.ErrLost
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return engine.Refuse("etcd doesn't take this user and password: see %s and %s", engine.EnvUser,
			engine.EnvPasswordFile)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return engine.Refuse("etcd wants a user and a password: set %s, and %s or %s",
			engine.EnvUser, engine.EnvPassword, engine.EnvPasswordFile)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return engine.ReadOnly("etcd's user has no permission for the keys below %s: etcdctl role grant-permission "+
			"ROLE readwrite --prefix=true %s", s.of()+root, s.of()+root)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return engine.ReadOnly("etcd has no space left (--quota-backend-bytes), until old revisions are gone: " +
			"etcdctl compact, etcdctl defrag, etcdctl alarm disarm")
	case errors.Is(err, rpctypes.ErrCorrupt):
		return engine.ReadOnly("etcd has found that a member's data are corrupt: etcdctl alarm list names it")
	case errors.Is(err, rpctypes.ErrLeaseTTLTooLarge):
		return engine.Misused("--ttl is larger than etcd allows")
	}
	text := err.Error()
	for _, sign := range []string{"x509: ", "tls: "} { // the client's error has no type for these
		if i := strings.Index(text, sign); i >= 0 {
			return engine.Refuse("no TLS connection to etcd: %s", strings.TrimRight(text[i:], `" `))
		}
	}
	return err
}
