package etcd

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// Share writes a key. Its lease outlives the session, and the node's next session uses
// the same lease, so that leases don't pile up.
func (e *Etcd) Share(ctx context.Context, text []byte) error {
	if e.lease == 0 {
		return engine.ErrLost
	}
	key := shares + e.name + "/" + e.m.Node
	if e.sharing == 0 {
		got, err := e.c.Get(ctx, key, clientv3.WithKeysOnly())
		if err != nil {
			return e.refine(err)
		}
		if len(got.Kvs) > 0 {
			e.sharing = clientv3.LeaseID(got.Kvs[0].Lease)
		}
	}
	if e.sharing != 0 {
		err := e.keepAlive(ctx, e.sharing)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			e.sharing = 0
		} else if err != nil {
			return e.refine(err)
		}
	}
	if e.sharing == 0 {
		g, err := e.c.Grant(ctx, int64(engine.SharedLasts/time.Second))
		if err != nil {
			return e.refine(err)
		}
		e.sharing = g.ID
	}
	_, err := e.c.Put(ctx, key, string(text), clientv3.WithLease(e.sharing))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		e.sharing = 0
	}
	return e.refine(err)
}

// Shared reads the keys.
func (e *Etcd) Shared(ctx context.Context) (list []engine.Shared, err error) {
	got, err := e.c.Get(ctx, shares, clientv3.WithPrefix(), clientv3.WithLimit(engine.MostShared))
	if err != nil {
		return nil, e.refine(err)
	}
	for _, kv := range got.Kvs {
		name, node, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), shares), "/")
		list = append(list, engine.Shared{Name: name, Node: node, Text: kv.Value})
	}
	return list, nil
}
