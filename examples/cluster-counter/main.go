//go:build linux

// Cluster-counter is Immutant's demonstration of a clustered singleton, made of small
// programs. A counter runs once in a cluster of two nodes, and publishes a number each
// second. A listener runs on both nodes, and the listeners share the messages. The
// node that counts is killed, and the other node counts on.
//
//	go run ./examples/cluster-counter
//
// That command starts PostgreSQL in a temporary directory and both nodes on this
// machine (told apart by --node and --dir), and kills the counting node. README.md says
// how to do it by hand, on two machines.
//
//	cluster-counter publish   the counter
//	cluster-counter listen    a listener
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	what := "demo"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	var err error
	switch what {
	case "publish":
		err = publish(ctx)
	case "listen":
		err = listen(ctx)
	case "demo":
		err = demo(ctx)
	default:
		err = fmt.Errorf("%q is none of publish, listen, demo", what)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "cluster-counter:", err)
		os.Exit(1)
	}
}
