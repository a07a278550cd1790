package node

import (
	"context"
	"fmt"
	"strings"

	"lifeline/cmd/lifeline-remote/internal/etcd"
	"lifeline/cmd/lifeline-remote/internal/postgres"
	"lifeline/internal/cluster"
	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

// kind returns the engine that an address names: etcd, postgres or "".
func kind(url string) string {
	switch scheme, _, _ := strings.Cut(url, "://"); scheme {
	case "etcd", "etcds":
		return "etcd"
	case "postgres", "postgresql":
		return "postgres"
	}
	return ""
}

func unknown(url string) error {
	return engine.Misused("%.40q is no engine's address: there are etcd://, etcds:// and postgres://",
		address.Hide(url))
}

// open connects to the engine that the address names.
func open(ctx context.Context, h cluster.Hello) (engine.Engine, error) {
	url, err := address.Read(h.URL)
	if err != nil {
		return nil, engine.Misused("%v", err)
	}
	switch kind(url) {
	case "etcd":
		e, err := etcd.Open(ctx, h.URL, h.Prefix, h.Name)
		if err != nil {
			return nil, err // a nil *Etcd in an interface wouldn't be nil
		}
		return e, nil
	case "postgres":
		e, err := postgres.Open(ctx, h.URL, h.Prefix, h.Name)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	return nil, unknown(url)
}

// initEngine prepares the engine, or prints the SQL for it.
func initEngine(ctx context.Context, url, team string, show bool) error {
	read, err := address.Read(url)
	if err != nil {
		return engine.Misused("%v", err)
	}
	switch kind(read) {
	case "etcd":
		fmt.Println("etcd needs no preparation")
		return nil
	case "postgres":
		if show {
			fmt.Print(postgres.Schema(team))
			return nil
		}
		return postgres.Init(ctx, url, team)
	}
	return unknown(read)
}
