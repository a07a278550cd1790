package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// beat is the stream on which leases are renewed. clientv3's KeepAliveOnce opens a
// stream, and asks for a token, for each renewal. With a user and a password, each token
// costs 75 ms of etcd's processor time (bcrypt).
type beat struct {
	stream etcdserverpb.Lease_LeaseKeepAliveClient
	end    context.CancelFunc
	heard  chan heard
}

type heard struct {
	ttl int64
	err error
}

// keepAlive renews a lease and waits for the answer.
func (e *Etcd) keepAlive(ctx context.Context, lease clientv3.LeaseID) error {
	if e.beat == nil {
		b, err := openBeat(ctx, e.c)
		if err != nil {
			return rpctypes.Error(err)
		}
		e.beat = b
	}
	err := e.beat.stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(lease)})
	var said heard
	if err == nil {
		select {
		case said = <-e.beat.heard:
			err = said.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil { // a late answer must not count for the next request
		e.endBeat()
		return rpctypes.Error(err)
	}
	if said.ttl <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

// openBeat opens the stream within ctx. The stream outlives ctx.
func openBeat(ctx context.Context, c *clientv3.Client) (*beat, error) {
	living, end := context.WithCancel(context.Background())
	defer context.AfterFunc(ctx, end)()
	stream, err := etcdserverpb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(living)
	if err != nil {
		end()
		return nil, err
	}
	b := &beat{stream: stream, end: end, heard: make(chan heard, 1)}
	go func() {
		for {
			r, err := stream.Recv()
			select {
			case b.heard <- heard{r.GetTTL(), err}:
			case <-living.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return b, nil
}

func (e *Etcd) endBeat() {
	if e.beat != nil {
		e.beat.end()
		e.beat = nil
	}
}
