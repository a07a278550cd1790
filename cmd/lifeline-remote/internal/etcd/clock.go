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
// second. It asks all at once, and waits for most: one may have died, and answer nothing.
// The clock is zero if none can be reached, because --listen-client-http-urls may have
// moved them.
func (e *Etcd) dated(ctx context.Context) time.Time {
	limit := 2 * time.Second
	if end, has := ctx.Deadline(); has {
		limit = min(limit, time.Until(end)/2) // agreed needs the rest
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	endpoints, client := e.c.Endpoints(), e.http
	answers := make(chan time.Time, len(endpoints))
	for _, endpoint := range endpoints {
		go func() { answers <- dateOf(ctx, client, endpoint) }()
	}
	var clocks []time.Time
	for range endpoints {
		if at := <-answers; !at.IsZero() {
			clocks = append(clocks, at)
		}
		if 2*len(clocks) > len(endpoints) {
			break
		}
	}
	if len(clocks) == 0 {
		return time.Time{}
	}
	slices.SortFunc(clocks, time.Time.Compare)
	return clocks[len(clocks)/2]
}

// dateOf returns the clock of a member's HTTP server; zero if it doesn't tell.
func dateOf(ctx context.Context, client *http.Client, endpoint string) time.Time {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint+"/version", nil)
	if err != nil {
		return time.Time{}
	}
	answer, err := client.Do(request)
	if err != nil {
		return time.Time{}
	}
	_ = answer.Body.Close()
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.Add(500 * time.Millisecond)
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
