package main

import (
	"context"
	"strings"

	"lifeline/lifeline/cluster"
	"lifeline/lifeline/cluster/engine"
	"lifeline/lifeline/cluster/etcd"
)

// open connects to the engine that an address names.
func open(ctx context.Context, h cluster.Hello) (engine.Engine, error) {
	switch scheme, _, _ := strings.Cut(h.URL, "://"); scheme {
	case "etcd", "etcds":
		e, err := etcd.Open(ctx, h.URL, h.Name)
		if err != nil {
			return nil, err
		}
		return e, nil
	default:
		return nil, engine.Misused("%s:// is no engine: there are etcd://, etcds:// and postgres://", scheme)
	}
}
