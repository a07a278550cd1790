// Package node is the program lifeline-remote, which speaks to networks for lifeline.
// lifeline starts it; operators use two of its subcommands:
//
//	lifeline-remote init postgres://HOST/DATABASE   make the tables (--print: show the SQL)
//	lifeline-remote status URL [NAME...]            who holds what (as lifeline status --cluster)
//
// The package doc of cluster describes the protocol of `lifeline-remote hold`. Package
// engine below it says what an engine does.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/healthcheck"
	"lifeline/internal/release"
)

const usageText = `usage:
  lifeline-remote init [--print] URL      make what the engine needs (PostgreSQL: tables)
  lifeline-remote status [--json] [--nodes] URL [NAME...]
  lifeline-remote move URL NAME NODE      hand NAME over to NODE
  lifeline-remote reset-ticks URL NAME    let NAME's ticks go on from now
  lifeline-remote drain URL NODE [TIME]   have NODE hand over everything and take no lease, for TIME
  lifeline-remote undrain URL NODE        end that
  lifeline-remote metrics URL             the cluster, in the Prometheus text format
  lifeline-remote runs [--json] URL NAME  the latest scheduled runs of NAME
  lifeline-remote forget URL NAME         remove a name that no node stands by for
  lifeline-remote doctor URL NAME         what lifeline doctor shows of the engine: a finding a line, in fields
  lifeline-remote ping URL start|log|fail|CODE   tell healthchecks.io or the like; the body comes from standard input
  lifeline-remote hold                    what lifeline starts; not for people
`

// Main runs the subcommand in args, which lack the program's name, and returns the exit
// code.
func Main(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usageText)
		return 64
	}
	log.SetOutput(io.Discard) // net/http logs there what a server sends unasked, and cron mails standard error
	if args[0] == "hold" && len(args) == 1 {
		return holdMain()
	}
	if args[0] == "ping" { // a ping may take a minute, and any signal ends it
		return healthcheck.Main(context.Background(), args[1:], os.Stdin, os.Stderr)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	switch args[0] {
	case "init":
		err = initCommand(ctx, args[1:])
	case "status":
		err = statusCommand(ctx, args[1:])
	case "move":
		err = moveCommand(ctx, args[1:])
	case "drain":
		err = drainCommand(ctx, args[1:])
	case "undrain":
		err = undrainCommand(ctx, args[1:])
	case "metrics":
		err = metricsCommand(ctx, args[1:])
	case "runs":
		err = runsCommand(ctx, args[1:])
	case "forget":
		err = forgetCommand(ctx, args[1:])
	case "doctor":
		err = doctorCommand(ctx, args[1:])
	case "reset-ticks":
		err = resetTicksCommand(ctx, args[1:])
	case "-h", "--help", "help":
		fmt.Print(usageText)
	case "--version":
		fmt.Println(release.String("lifeline-remote"))
	default:
		err = engine.Misused("there is no %q; see lifeline-remote help", args[0])
	}
	return codeOf(err)
}

func codeOf(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "lifeline-remote:", address.Scrub(err.Error(), os.Args))
	var refused *engine.Refused
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 125
}

// holdMain runs `lifeline-remote hold`, which lifeline starts with the socket at
// descriptor 3.
func holdMain() int {
	var st unix.Stat_t
	if err := unix.Fstat(cluster.Descriptor, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		fmt.Fprintln(os.Stderr, "lifeline-remote: hold is what lifeline starts; it can't be used by hand")
		return 64
	}
	unix.CloseOnExec(cluster.Descriptor)
	_ = unix.SetNonblock(cluster.Descriptor, true)
	// A program that ends a whole cgroup or session sends these signals to every
	// process in it. But lifeline decides when lifeline-remote ends.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	conn := os.NewFile(cluster.Descriptor, "lifeline")
	in := cluster.NewReader(conn, cluster.FromLifeline)
	m, err := in.Next()
	if other := new(cluster.VersionError); errors.As(err, &other) && other.Version == "1" {
		_, _ = conn.WriteString(cluster.OldRefusal())
		return 125
	}
	_, _ = conn.WriteString(cluster.FromRemote.Banner()) // another version of lifeline reports this banner itself
	if err != nil || m.Verb != "hello" {
		return 125
	}
	hello := *m.Hello
	alarm, err := cluster.NewAlarm()
	if err != nil {
		_, _ = conn.WriteString(cluster.Message{Verb: "refused", Code: 125, Text: err.Error()}.Line())
		return 125
	}
	keep, end := writer(string(hello.Memory))
	defer end()
	summaries, endSharing := sharer(hello)
	defer endSharing()
	s := newSession(hello, conn, open, world{now: cluster.Now, wall: wall, rang: alarm.C, alarm: alarm.Set,
		kill: killTrees, keep: keep, share: summaries})
	s.past = readMemory(string(hello.Memory))
	s.past.Fence = max(s.past.Fence, hello.Fence)
	return s.run(in)
}

// wall returns the time of day; the proofs falsify it (seam_proof.go).
var wall = time.Now
