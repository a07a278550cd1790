package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// Clock is the members' (dated), else that of most other nodes (agreed). etcd
// has no request for it.
func (e *Etcd) Clock(ctx context.Context, wall func() time.Time) (engine.Clock, error) {
	at := e.dated(ctx)
	switch {
	case !at.IsZero():
		e.dates = true
		return engine.Engines(at), nil
	case e.dates: // not at this moment
		return engine.Clock{}, nil
	}
	return e.agreed(ctx, wall)
}

// dated is what the members' HTTP servers say (the field Date, in seconds): the
// median, to half a second. It is zero where none can be reached: they may be
// elsewhere (--listen-client-http-urls).
func (e *Etcd) dated(ctx context.Context) time.Time {
	var clocks []time.Time
	for _, endpoint := range e.c.Endpoints() {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		request, err := http.NewRequestWithContext(asking, http.MethodHead, endpoint+"/version", nil)
		if err == nil {
			var answer *http.Response
			if answer, err = e.http.Do(request); err == nil {
				_ = answer.Body.Close()
				if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
					clocks = append(clocks, at.Add(500*time.Millisecond))
				}
			}
		}
		cancel()
	}
	if len(clocks) == 0 {
		return time.Time{}
	}
	slices.SortFunc(clocks, time.Time.Compare)
	return clocks[len(clocks)/2]
}

// agreed writes this node's clock into the member's key, and compares it with
// those of the name's other nodes.
func (e *Etcd) agreed(ctx context.Context, wall func() time.Time) (engine.Clock, error) {
	if e.lease == 0 {
		return engine.Clock{Alone: true}, nil
	}
	e.who.Wall = wall().UTC()
	text, _ := json.Marshal(e.who)
	r, err := e.c.Txn(ctx).Then(clientv3.OpPut(e.key("member", e.id), string(text), clientv3.WithLease(e.lease)),
		clientv3.OpGet(e.key("member", ""), clientv3.WithPrefix())).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return engine.Clock{}, nil // Renew decides what that means
	}
	if err != nil {
		return engine.Clock{}, e.refine(err)
	}
	now := wall()
	apart, all := e.apart(r.Responses[1].GetResponseRange().Kvs, now)
	if !all {
		return engine.Clock{Alone: true}, nil
	}
	return engine.Clock{At: now.Add(apart), Of: "most other nodes'"}, nil
}

// age is how old a clock may be that a living node has written.
const age = engine.ClockEvery * 3 / 2

// apart is by how much most other nodes differ from now, at least; false where
// no other node has written its clock. With as many that differ as don't, it is
// the smaller difference.
func (e *Etcd) apart(kvs []*mvccpb.KeyValue, now time.Time) (time.Duration, bool) {
	var all []time.Duration
	for _, kv := range kvs {
		var w who
		if json.Unmarshal(kv.Value, &w) != nil || w.ID == e.id || w.Wall.IsZero() {
			continue
		}
		d := w.Wall.Sub(now) // and up to age more
		if d < 0 {
			d = min(d+age, 0)
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.SortFunc(all, func(a, b time.Duration) int { return cmp.Compare(a.Abs(), b.Abs()) })
	return all[(len(all)-1)/2], true
}
