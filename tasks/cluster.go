package tasks

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/cluster"
	"lifeline/internal/cluster/address"
	"lifeline/internal/guard"
)

// clusterOptions returns the options of a name that runs once in a whole cluster.
func (o *options) clusterOptions() []*option {
	c := &o.cluster
	return append(o.clusterAddress(), []*option{
		{name: "node", value: "NAME", group: aboutCluster, to: text(&c.Node), preset: "the host name",
			usage: "this node's name in the cluster"},
		{name: "ttl", value: "TIME", group: aboutCluster, to: duration(&c.TTL, 5*time.Second),
			usage: "a dead node's lease ends after TIME; --kill-after must fit into half of it, and is a quarter of " +
				"it where it isn't given"},
		{name: "slots", value: "N", group: aboutCluster, to: number(&c.Slots, 1), usage: "run on N nodes, not on one"},
		{name: "prefer", value: "NODE", group: aboutCluster, to: text(&c.Prefer),
			usage: "give the lease back to this node when it is healthy again"},
		{name: "fail-after", value: "N", group: aboutCluster, to: number(&c.FailAfter, 0), preset: "never",
			usage: "let another node have the lease after N failures in a row"},
		// A scheduled run finds its label in LIFELINE_TICK.
		{name: "tick", value: "SCHEDULE", group: aboutCluster, to: text(&c.Tick), noEnv: true,
			usage: "run the command at each time of this schedule (cron's five fields, CRON_TZ=ZONE before them), " +
				"once in the whole cluster"},
		{name: "at-least-once", group: aboutCluster, to: toggle(&c.AtLeastOnce),
			usage: "repeat a scheduled run whose node died before the run was done"},
		{name: "max-clock-skew", value: "TIME", group: aboutCluster, to: duration(&c.MaxClockSkew, time.Minute),
			usage: "claim no scheduled run while this node's clock differs from the engine's by more than TIME"},
		{name: "share-status", group: aboutCluster, to: toggle(&c.ShareStatus),
			usage: "show every node how the name stands here: command, last runs and STATUS= go to the engine, at " +
				"most once a minute"},
		{name: "force-options", group: aboutCluster, to: toggle(&c.ForceOptions),
			usage: "change --slots, --ttl and --tick for all nodes to these"},
	}...)
}

// clusterAddress returns the cluster options that subcommands have, too.
func (o *options) clusterAddress() []*option {
	return []*option{{name: "cluster", value: "ADDRESS", group: aboutCluster, to: text(&o.cluster.URL),
		usage: "run once in the whole cluster that meets at this address: etcd://HOST:2379,HOST:2379 or " +
			"postgres://HOST/DATABASE, or in @FILE"},
		{name: "cluster-prefix", value: "TEAM", group: aboutCluster, to: text(&o.cluster.Prefix),
			usage: "keep names apart from those of other teams in the same engine"}}
}

// checkCluster refuses wrong combinations of the cluster's options, and sets the options
// that follow from --cluster.
func (o *options) checkCluster(c *cli.Context) error {
	k := &o.cluster
	if k.URL == "" {
		for _, name := range []string{"cluster-prefix", "slots", "prefer", "fail-after", "tick", "at-least-once",
			"max-clock-skew", "share-status", "force-options"} {
			if c.IsSet(name) && os.Getenv(variableOf(name)) == "" { // a variable is for many command lines
				return usage("--%s is for a cluster: give --cluster, too", name)
			}
		}
		return nil
	}
	if err := secretTyped(k.URL); err != nil {
		return err
	}
	if k.Tick != "" {
		if err := install.CheckTick(k.Tick); err != nil {
			return usage("--tick: %v", err)
		}
	}
	if !c.IsSet("kill-after") {
		o.sup.KillAfter = cluster.DefaultGrace(k.TTL)
	}
	switch {
	case o.exec:
		return usage("--exec and --cluster can't be had together: a supervisor has to watch the " +
			"lease; leave out --exec")
	case o.orphans == "adopt":
		return usage("--orphans adopt and --cluster can't be had together: an orphan's lease has ended")
	case o.sup.Leftovers == "keep" || o.sup.Leftovers == "follow":
		return usage("--leftovers %s and --cluster can't be had together: nothing may outlive the lease",
			o.sup.Leftovers)
	case c.IsSet("max-clock-skew") && k.Tick == "" && !c.IsSet("schedule"):
		return usage("--max-clock-skew is for --tick: give a schedule")
	case k.Tick != "" && o.sup.Respawn:
		return usage("--tick and --respawn can't be had together: it runs at its ticks")
	case k.Prefer != "" && k.Slots > 1:
		return usage("--prefer and --slots can't be had together: one place can be preferred")
	}
	if err := k.Check(o.sup.KillAfter); err != nil {
		return usage("%v", err)
	}
	o.orphans = "terminate"
	return nil
}

// secretTyped refuses a password on the command line. An invalid address is refused
// elsewhere.
func secretTyped(url string) error {
	if address.Check(url) == nil && address.Secret(url) && slices.ContainsFunc(os.Args[1:],
		func(arg string) bool { return strings.Contains(arg, url) }) {
		return usage("a password on the command line can be read by every user of this machine: put the address into " +
			"LIFELINE_CLUSTER, or the password into LIFELINE_CLUSTER_PASSWORD or the file " +
			"LIFELINE_CLUSTER_PASSWORD_FILE")
	}
	return nil
}

// join returns the cluster's lease; nil without a cluster. It starts no worker.
func (o *options) join(hold *guard.Hold) (*cluster.Lease, error) {
	if o.cluster.URL == "" {
		return nil, nil
	}
	state, _ := hold.Journal()
	o.cluster.Memory = strings.TrimSuffix(state, ".state") + ".cluster"
	return cluster.Join(o.cluster, o.name, o.sup.KillAfter, o.warn)
}

// clusterStatus runs `lifeline status --cluster [URL] [NAME...]`; the URL is
// LIFELINE_CLUSTER's where none is given.
func (o *options) clusterStatus(args []string, asJSON, nodes bool) error {
	args, err := o.clusterNames(args)
	if err != nil {
		return err
	}
	var flags []string
	if asJSON {
		flags = append(flags, "--json")
	}
	if nodes {
		flags = append(flags, "--nodes")
	}
	return o.remote("status", flags, args)
}

// clusterNames takes the address from the arguments or the environment, and
// returns the names among the arguments.
func (o *options) clusterNames(args []string) (names []string, err error) {
	o.cluster.URL = os.Getenv(variableOf("cluster"))
	if o.cluster.Prefix == "" {
		o.cluster.Prefix = os.Getenv(variableOf("cluster-prefix"))
	}
	if len(args) > 0 && address.Is(args[0]) {
		o.cluster.URL, args = args[0], args[1:]
	}
	for _, name := range args {
		if err := guard.CheckName(name); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// clusterToggles returns --cluster and --cluster-prefix for a command that also
// works without a cluster.
func (o *options) clusterToggles(on *bool, usage string) []*option {
	return []*option{{name: "cluster", to: toggle(on), noEnv: true, usage: usage +
		"; the address follows, or is in LIFELINE_CLUSTER"},
		{name: "cluster-prefix", value: "TEAM", to: text(&o.cluster.Prefix), noEnv: true,
			usage: "with --cluster: the names of this team; by default LIFELINE_CLUSTER_PREFIX's"}}
}

// noCluster refuses --cluster-prefix where --cluster isn't given.
func (o *options) noCluster() error {
	if o.cluster.Prefix != "" {
		return usage("--cluster-prefix is for a cluster: give --cluster, too")
	}
	return nil
}

// installCluster turns --schedule into --tick: cron starts a standby on every node
// each minute, and one node runs each scheduled run.
func (o *options) installCluster(c *cli.Context, e *install.Entry) error {
	if err := o.checkCluster(c); err != nil || o.cluster.URL == "" {
		return err
	}
	if address.Secret(o.cluster.URL) {
		return usage("the password in --cluster would be in the crontab and in ps: leave it out, and write " +
			"LIFELINE_CLUSTER_PASSWORD_FILE=FILE above the line in the crontab")
	}
	switch {
	case !c.IsSet("schedule") || e.Schedule == install.EveryMinute && !c.IsSet("tick"):
	case c.IsSet("tick"):
		return usage("--schedule and --tick can't be had together: with --cluster the schedule becomes the tick")
	case o.sup.Respawn:
		return usage("--schedule, --cluster and --respawn can't be had together: it runs at its ticks")
	case strings.TrimSpace(e.Schedule) != "@reboot":
		if err := install.CheckSchedule(e.Schedule); err != nil {
			return usage("%v", err)
		}
		e.Options = append(e.Options, "--tick", strings.TrimSpace(e.Schedule))
		e.Schedule = install.EveryMinute
	}
	return nil
}

func moveCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:      "move",
		Usage:     "hand it over to another node of the cluster",
		UsageText: "lifeline move --cluster URL NAME NODE\n\nNODE must stand by. It returns when NODE has it.",
		Flags:     flags(o.clusterAddress()),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) != 2 {
				return usage("move takes NAME and NODE: lifeline move --cluster URL NAME NODE")
			}
			if err := guard.CheckName(args[0]); err != nil {
				return err
			}
			return o.remote("move", nil, args)
		},
	}
}

func runsCommand() *cli.Command {
	var o options
	var asJSON, cluster bool
	return &cli.Command{
		Name:  "runs",
		Usage: "which node of the cluster ran which tick, and how it ended",
		UsageText: "lifeline runs --cluster [URL] NAME\n\nThe latest scheduled runs of NAME " +
			"(--tick), 100 of them or more.",
		Flags: flags(o.clusterToggles(&cluster, "ask the cluster"), []*option{
			{name: "json", to: toggle(&asJSON), usage: "print one JSON array, the latest run first"}}),
		Action: func(c *cli.Context) error {
			if !cluster {
				return usage("runs are a cluster's: lifeline runs --cluster NAME; lifeline " +
					"history NAME has this node's")
			}
			names, err := o.clusterNames(c.Args().Slice())
			if err == nil && len(names) != 1 {
				err = usage("runs takes one NAME: lifeline runs --cluster URL NAME")
			}
			if err != nil {
				return err
			}
			if asJSON {
				return o.remote("runs", []string{"--json"}, names)
			}
			return o.remote("runs", nil, names)
		},
	}
}

func drainCommand() *cli.Command {
	var o options
	var length time.Duration
	return &cli.Command{
		Name:  "drain",
		Usage: "have a node of the cluster hand over everything",
		UsageText: "lifeline drain --cluster URL NODE [--for 2h]\n\nNODE hands over each name that another node " +
			"stands by for, and takes no lease until\nlifeline undrain NODE, also after a restart. It returns when " +
			"NODE holds none.",
		Flags: flags(o.clusterAddress(), []*option{{name: "for", value: "TIME",
			to:     duration(&length, 0).atLeast(time.Millisecond),
			preset: "until lifeline undrain NODE", usage: "end it after TIME"}}),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) != 1 {
				return usage("drain takes NODE: lifeline drain --cluster URL NODE")
			}
			if err := cluster.CheckNode(args[0]); err != nil {
				return usage("%v", err)
			}
			if length > 0 {
				args = append(args, length.String())
			}
			return o.remote("drain", nil, args)
		},
	}
}

func undrainCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:      "undrain",
		Usage:     "let a drained node take leases again",
		UsageText: "lifeline undrain --cluster URL NODE",
		Flags:     flags(o.clusterAddress()),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) != 1 {
				return usage("undrain takes NODE: lifeline undrain --cluster URL NODE")
			}
			if err := cluster.CheckNode(args[0]); err != nil {
				return usage("%v", err)
			}
			return o.remote("undrain", nil, args)
		},
	}
}

func ticksCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:   "ticks",
		Usage:  "set back how far the cluster's ticks have been run",
		Hidden: true, // an error message names it, as the remedy
		UsageText: "lifeline ticks --cluster URL reset NAME\n\nThe ticks go on from now. Use this when a node's " +
			"wrong clock has run ticks of the future.",
		Flags: flags(o.clusterAddress()),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) != 2 || args[0] != "reset" {
				return usage("ticks takes the word reset and NAME: lifeline ticks --cluster URL reset NAME")
			}
			if err := guard.CheckName(args[1]); err != nil {
				return err
			}
			return o.remote("reset-ticks", nil, args[1:])
		},
	}
}

// clusterForget removes a name from the engine.
func (o *options) clusterForget(args []string) error {
	names, err := o.clusterNames(args)
	if err == nil && len(names) != 1 {
		err = usage("forget takes one NAME: lifeline forget --cluster URL NAME")
	}
	if err != nil {
		return err
	}
	return o.remote("forget", nil, names)
}

// clusterMetrics prints the metrics of all nodes, from the engine.
func (o *options) clusterMetrics(args []string, out string) error {
	if out != "" {
		return usage("--cluster and --out don't go together: lifeline metrics --cluster prints it")
	}
	names, err := o.clusterNames(args)
	if err == nil && len(names) > 0 {
		err = usage("metrics takes no name: lifeline metrics --cluster [URL]")
	}
	if err != nil {
		return err
	}
	return o.remote("metrics", nil, nil)
}

// remote runs a subcommand of lifeline-remote. The address goes through the
// environment, because it may contain a password.
func (o *options) remote(verb string, flags, args []string) error {
	return o.remoteInto(os.Stdout, verb, flags, args)
}

func (o *options) remoteInto(out io.Writer, verb string, flags, args []string) error {
	if o.cluster.URL == "" {
		return usage("--cluster is missing: lifeline %s --cluster etcd://HOST:2379 …", verb)
	}
	if err := secretTyped(o.cluster.URL); err != nil {
		return err
	}
	if err := cluster.CheckPrefix(o.cluster.Prefix); err != nil {
		return usage("%v", err)
	}
	program, err := cluster.Find()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, append(append(append([]string{verb}, flags...), "-"), args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, os.Stderr
	cmd.Env = append(os.Environ(), "LIFELINE_CLUSTER="+o.cluster.URL, variableOf("cluster-prefix")+"="+o.cluster.Prefix)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &codeError{code: max(exit.ExitCode(), 1)} // lifeline-remote has said why
	}
	return err
}
