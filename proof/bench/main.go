//go:build linux

// Bench measures lifeline and its peers. They take turns within one run, so that
// other load on the machine hits them alike. Compare the ratios of the medians: the
// times depend on the machine.
//
//	go run ./proof/bench [flags] tick|start|names|all
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"lifeline/proof/build"
	"lifeline/proof/check"
	"lifeline/proof/pid"
)

func main() {
	// The crowd gets its death signal when this thread ends (prctl(2)).
	runtime.LockOSThread()
	runs := flag.Int("runs", 500, "runs of each tick")
	starts := flag.Int("starts", 60, "runs of each start in a full table")
	crowd := flag.Int("crowd", 10000, "processes in the full table")
	names := flag.Int("names", 300, "names that start within a second")
	rounds := flag.Int("rounds", 5, "rounds of names that start")
	flag.Parse()
	if flag.Arg(0) == crowdArg {
		if err := beCrowd(flag.Arg(1)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	b, err := newBench()
	if err == nil {
		defer b.close()
		switch what := flag.Arg(0); what {
		case "tick":
			err = b.ticks(*runs, *crowd)
		case "start":
			err = b.starts(*starts, *crowd)
		case "names":
			err = b.names(*names, *rounds)
		case "all", "":
			if err = b.ticks(*runs, *crowd); err == nil {
				err = b.starts(*starts, *crowd)
			}
			if err == nil {
				err = b.names(*names, *rounds)
			}
		default:
			err = fmt.Errorf("%q is none of tick, start, names, all", what)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if b != nil {
			b.close()
		}
		os.Exit(1)
	}
}

// bench has the programs to measure with, and their directory.
type bench struct {
	dir      string
	lifeline string // as it is shipped
	proof    string // with the seam that leaves the scan out
	floor    string
	peer     string
	witness  string
	holders  []*exec.Cmd
}

func newBench() (*bench, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir}
	b.lifeline, b.proof, b.floor, b.peer, b.witness = b.path("lifeline"), b.path("lifeline-proof"), b.path("floor"),
		b.path("peer"), b.path("witness")
	for _, p := range []struct{ out, from, tags string }{
		{b.lifeline, ".", "urfave_cli_no_docs,osusergo,netgo"},
		{b.proof, ".", "urfave_cli_no_docs,osusergo,netgo,proof"},
		{b.floor, "./proof/bench/floor", ""},
		{b.peer, "./proof/peer", ""},
		{b.witness, "./proof/witness", ""},
	} {
		if err := build.One(p.out, p.from, p.tags); err != nil {
			return b, err
		}
	}
	fmt.Print(machine(os.Args))
	return b, nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// close ends the holders of locks, and removes the directory.
func (b *bench) close() {
	for _, cmd := range b.holders {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	b.holders = nil
	pid.KillBelow(b.dir)
	_ = os.RemoveAll(b.dir)
}

// ticks prints the table of a tick that finds an instance, with the process table as
// it is and with a full one.
func (b *bench) ticks(runs, crowd int) error {
	contenders, notes, err := b.tickContenders()
	if err != nil {
		return err
	}
	for _, size := range []int{0, 300, crowd} {
		n, results, err := among(size, contenders, runs)
		if err != nil {
			return err
		}
		fmt.Printf("\n### A tick that finds an instance, %d processes\n\n", n)
		table(b.dir, contenders, results, runs, "flock -n, free", "an empty Go program")
		contenders = withoutPs(contenders)
	}
	for _, n := range notes {
		fmt.Println("\n" + n)
	}
	fmt.Print(b.calls())
	return nil
}

// starts prints the table of a start that takes a census.
func (b *bench) starts(runs, crowd int) error {
	contenders := b.startContenders()
	for _, size := range []int{0, crowd} {
		n, results, err := among(size, contenders, runs)
		if err != nil {
			return err
		}
		fmt.Printf("\n### A start, %d processes\n\n", n)
		table(b.dir, contenders, results, runs, "pgrep -f", "")
		whole, blind := median(results[0]), median(results[1])
		fmt.Printf("\nThe look through the process table alone: about %s, %.2f of `pgrep -f`.\n", short(whole-blind),
			float64(whole-blind)/float64(median(results[2])))
	}
	return nil
}

// among times the contenders among at least size processes. n is the number of
// processes that there were.
func among(size int, contenders []contender, runs int) (n int, results [][]sample, err error) {
	c, err := gather(size)
	if err != nil {
		return 0, nil, err
	}
	defer c.disperse()
	results, err = interleave(contenders, runs)
	return processes(), results, err
}

// table prints the medians, and their ratios to one or two of the contenders.
func table(dir string, contenders []contender, results [][]sample, runs int, base, floor string) {
	of := func(name string) float64 {
		for i, c := range contenders {
			if c.name == name {
				return float64(median(results[i]))
			}
		}
		return 0
	}
	head, rule := "| | median | of "+base+" |", "|---|--:|--:|"
	if floor != "" {
		head, rule = head+" of "+floor+" |", rule+"--:|"
	}
	fmt.Println(head + " how |\n" + rule + "---|")
	for i, c := range contenders {
		m := median(results[i])
		line := fmt.Sprintf("| %s | %s | %.2f |", c.name, short(m), float64(m)/of(base))
		if floor != "" {
			line += fmt.Sprintf(" %.2f |", float64(m)/of(floor))
		}
		fmt.Printf("%s `%s`, %d runs in turn with the others%s |\n", line, strings.Join(c.shown(dir), " "), runs, c.how)
	}
}

func median(list []sample) sample { return check.Quantile(list, 0.5) }
