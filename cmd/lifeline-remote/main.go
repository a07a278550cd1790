//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Lifeline-remote speaks to networks for lifeline: engines of clusters, and the
// receivers of pings. Package node says what it does.
package main

import (
	"os"

	"lifeline/cmd/lifeline-remote/internal/node"
)

func main() { os.Exit(node.Main(os.Args[1:])) }
