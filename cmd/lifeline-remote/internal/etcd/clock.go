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

// Clock returns the members' clock (dated), else that of most other nodes (agreed),
// because etcd has no request for its clock.
func (e *Etcd) Clock(ctx context.Context, wall func() time.Time) (engine.Clock, error) {
	at := e.dated(ctx)
	switch {
	case !at.IsZero():
		e.dates = true
		return engine.Engines(at), nil
	case e.dates: // unknown at this moment
		return engine.Clock{}, nil
	}
	return e.agreed(ctx, wall)
}

// dated returns the median clock of the members' HTTP servers (the field Date), to half a
// second. It is zero if none can be reached, because --listen-client-http-urls may have
// moved them.
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

// agreed writes this node's clock into the member's key, and compares it with the clocks
// of the name's other nodes.
func (e *Etcd) agreed(ctx context.Context, wall func() time.Time) (engine.Clock, error) {
	if e.lease == 0 {
		return engine.Clock{Alone: true}, nil
	}
	e.who.Wall = wall().UTC()
	text, _ := json.Marshal(e.who)
	r, err := e.c.Txn(ctx).Then(clientv3.OpPut(e.key("member", e.id), string(text), clientv3.WithLease(e.lease)),
		clientv3.OpGet(e.key("member", ""), clientv3.WithPrefix())).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return engine.Clock{}, nil // Renew handles a lost session
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

// age is the greatest age of a living node's clock in etcd.
const age = engine.ClockEvery * 3 / 2

// apart returns the least difference that most other nodes have from now; false if no
// other node has written its clock. If half of the nodes differ, it returns the smaller
// difference.
func (e *Etcd) apart(kvs []*mvccpb.KeyValue, now time.Time) (time.Duration, bool) {
	var all []time.Duration
	for _, kv := range kvs {
		var w who
		if json.Unmarshal(kv.Value, &w) != nil || w.ID == e.id || w.Wall.IsZero() {
			continue
		}
		d := w.Wall.Sub(now) // the clock may be up to age older
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
