package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/need"
)

// grow is the program of a process in a random tree. It forks children that leave its
// session, its group, their parent or their environment, ignore SIGTERM or stop
// themselves. Descriptor 3, the witness, is open while any process of the tree lives. On
// descriptor 4 a parent announces each child (+), and a process its last fork (.).
const grow = `
use strict; use POSIX ();
my ($seed, $depth) = @ARGV;
sub note { POSIX::write(4, $_[0], 1) }
srand($seed);
$SIG{TERM} = 'IGNORE' if rand() < .4;
$SIG{HUP} = 'IGNORE';
for my $n (1 .. ($depth > 0 ? int(rand(4)) : 0)) {
	my ($double, $session, $group, $wipe) = map { rand() < .4 } 1 .. 4;
	my @next = ($^X, '-e', $ENV{GROW}, int(rand(1e9)), $depth - 1);
	note('+');
	my $pid = fork() // die;
	next if $pid;
	if ($double) { POSIX::_exit(0) if fork() }
	POSIX::setsid() if $session;
	setpgrp(0, 0) if $group;
	if ($wipe) { %ENV = (GROW => $ENV{GROW}) }
	exec(@next) or die;
}
note('.');
kill('STOP', $$) if rand() < .1;
sleep 1 for 1 .. 60;
`

// runaway forks as fast as it can, up to the number of tokens in a pipe and up to a time.
const runaway = `
use strict; use POSIX ();
my ($how, $until) = @ARGV;
$SIG{TERM} = 'IGNORE';
$SIG{CHLD} = 'IGNORE';
while (time() < $until) {
	if (!POSIX::read(4, my $x, 1)) { select(undef, undef, undef, .001); next } # as many live as may
	my $pid = fork();
	if (!defined $pid) { POSIX::write(5, 't', 1); next }
	if ($pid == 0) { POSIX::setsid() if $how =~ /session/; next }
	if ($how =~ /flee/) { POSIX::write(5, 't', 1); POSIX::_exit(0) } # only the child goes on
}
`

// witness is a pipe whose writing end all processes of a tree hold. Its end of file comes
// exactly when no process is left.
type witness struct{ r, w int }

func newWitness() witness {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		panic(err)
	}
	_ = unix.SetNonblock(p[0], true)
	return witness{p[0], p[1]}
}

// alone closes the test's own writing end and reports whether no process has another.
func (w witness) alone() bool {
	var b [1]byte
	n, err := unix.Read(w.r, b[:])
	return n == 0 && err == nil
}

const marker = "CHILD_TREE_ID"

// plant starts a tree as the supervisor does.
func plant(script string, w witness, more []int, value string, args ...string) (Tree, error) {
	spec := Spec{
		Argv: append([]string{"/usr/bin/perl", "-e", script}, args...),
		Env:  []string{marker + "=" + value, "GROW=" + script, "PATH=/usr/bin:/bin"}, Umask: -1, Group: true,
		Listen: append([]int{w.w}, more...),
	}
	id, err := Start(spec)
	if err != nil {
		return Tree{}, err
	}
	return Tree{Root: id, Group: id.PID, Above: procscan.Self(), Marker: marker, Value: value}, nil
}

// trees starts random trees from the given seeds and ends them, in a process of its
// own.
func trees(args []string) {
	first, _ := strconv.Atoi(args[0])
	last, _ := strconv.Atoi(args[1])
	if err := Adopting(); err != nil {
		wrong("%v", err)
	}
	helper := exec.Command("sleep", "3600") // a child that belongs to no worker
	if err := helper.Start(); err != nil {
		wrong("%v", err)
		return
	}
	defer helper.Wait()
	defer helper.Process.Kill()
	ours := []procscan.ID{{PID: helper.Process.Pid}}
	if s, err := procscan.Lookup(ours[0].PID); err == nil {
		ours[0] = s.ID
	}
	largest, all := 0, 0
	for seed := first; seed < last; seed++ {
		if !Alone(ours) || Alone(nil) {
			wrong("seed %d: alone before: %t, without the helper: %t", seed, Alone(ours), Alone(nil))
		}
		w, news := newWitness(), newWitness()
		name := fmt.Sprintf("tree%d of %d", seed, os.Getpid()) // others may run this test as well
		t, err := plant(grow, w, []int{news.w}, name, strconv.Itoa(seed), "3")
		unix.Close(w.w)
		unix.Close(news.w)
		if err != nil {
			wrong("seed %d: %v", seed, err)
			return
		}
		t.Not = ours
		if w.alone() || Alone(ours) {
			wrong("seed %d: the witness sees no process from the start", seed)
		}
		born := 1
		if seed%2 == 0 { // the others are ended while they grow
			if born = grown(news.r); born == 0 {
				return
			}
			// The middle process of a double fork may take a moment longer to end.
			found := len(t.Members())
			for deadline := time.Now().Add(20 * time.Second); found > born && time.Now().Before(deadline); {
				found = len(t.Members())
			}
			if found != born {
				wrong("seed %d: %d members of a tree of %d", seed, found, born)
			}
		}
		largest, all = max(largest, born), all+born
		grace := time.Duration(seed%3) * 10 * time.Millisecond
		if err := t.End(context.Background(), unix.SIGTERM, grace, false); err != nil {
			wrong("seed %d: %v", seed, err)
		}
		if !w.alone() {
			wrong("seed %d: a process lives on; members now: %v", seed, t.Members())
		}
		if left := t.Members(); len(left) > 0 {
			wrong("seed %d: %v are left", seed, left)
		}
		for range Reap() {
		}
		if !Alone(ours) {
			wrong("seed %d: not alone", seed)
		}
		unix.Close(w.r)
		unix.Close(news.r)
	}
	if largest < 8 {
		wrong("the largest tree had %d processes: that proves nothing", largest)
	}
	fmt.Printf("done: %d trees, at least %d processes, the largest of %d\n", last-first, all, largest)
}

// grown waits until all processes of a tree have forked their last, and returns their
// number.
func grown(news int) int {
	born, settled := 1, 0
	buf := make([]byte, 256)
	for deadline := time.Now().Add(20 * time.Second); settled < born; {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(news), Events: unix.POLLIN}}, 1000)
		n, err := unix.Read(news, buf)
		if (err == unix.EINTR || err == unix.EAGAIN) && time.Now().Before(deadline) {
			continue
		}
		if n <= 0 || err != nil {
			wrong("the tree went silent: %d of %d settled, %v", settled, born, err)
			return 0
		}
		for _, b := range buf[:n] {
			switch b {
			case '+':
				born++
			case '.':
				settled++
			}
		}
	}
	return born
}

func TestTreeEnd(t *testing.T) {
	needPerl(t)
	n := 200
	if testing.Short() {
		n = 40
	}
	help(t, nil, "trees", "0", strconv.Itoa(n))
}

// flood starts a runaway and ends it, in a process of its own.
func flood(args []string) {
	if err := Adopting(); err != nil {
		wrong("%v", err)
	}
	w := newWitness()
	var tokens [2]int
	if err := unix.Pipe2(tokens[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		panic(err)
	}
	most, _ := strconv.Atoi(args[1])
	for range most {
		_, _ = unix.Write(tokens[1], []byte("t"))
	}
	t, err := plant(runaway, w, tokens[:], args[0]+strconv.Itoa(os.Getpid()), args[0],
		strconv.FormatInt(time.Now().Unix()+20, 10))
	unix.Close(w.w)
	if err != nil {
		wrong("%v", err)
		return
	}
	// Let the runaway spread first.
	peak := 0
	for deadline := time.Now().Add(5 * time.Second); peak < most*3/4 && time.Now().Before(deadline); {
		peak = max(peak, len(t.Members()))
		for range Reap() {
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	reaping := make(chan struct{})
	go func() { // as the supervisor does
		chld := make(chan os.Signal, 1)
		signal.Notify(chld, unix.SIGCHLD)
		for ctx.Err() == nil {
			Reap()
			select {
			case <-chld:
			case <-ctx.Done():
			}
		}
		close(reaping)
	}()
	err = t.Kill(ctx)
	took := time.Since(began)
	if err != nil {
		wrong("%s: %v after %s", args[0], err, took)
	}
	if !w.alone() {
		wrong("%s: a process lives on", args[0])
	}
	cancel()
	<-reaping
	fmt.Printf("done: %d of up to %d seen alive, ended in %s\n", peak, most, took.Round(time.Millisecond))
}

func TestKillRunaway(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	needPerl(t)
	for how, most := range map[string]string{"spread": "300", "spread session": "300", "flee": "40",
		"flee session": "40"} {
		t.Run(how, func(t *testing.T) { help(t, nil, "flood", how, most) })
	}
}

// TestSendToReusedPid shows that the new process of a reused pid gets no signal meant for
// the old process.
func TestSendToReusedPid(t *testing.T) {
	_, err := exec.LookPath("unshare")
	before := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	need.That(t, err == nil && exec.Command(before[0], append(before[1:], "true")...).Run() == nil,
		"root's right to make namespaces")
	help(t, before, "reused")
}

func reused() {
	start := func() (*exec.Cmd, procscan.ID) {
		cmd := exec.Command("/bin/cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			panic(err)
		}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		cmd.Cancel = func() error { return in.Close() }
		s, err := procscan.Lookup(cmd.Process.Pid)
		if err != nil {
			panic(err)
		}
		return cmd, s.ID
	}
	cmd, old := start()
	Send(old, unix.SIGKILL)
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		wrong("Send didn't reach the right one: %v", err)
	}
	Send(old, unix.SIGKILL) // no process has the pid now
	for range 1000 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", fmt.Append(nil, old.PID-1), 0); err != nil {
			wrong("%v", err)
			return
		}
		cmd, id := start()
		if id.PID != old.PID || id.Start == old.Start {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			continue
		}
		for range 100 {
			Send(old, unix.SIGKILL)
		}
		// Test ending the whole tree, too.
		t := Tree{Root: old, Also: []procscan.ID{old}}
		if m := t.Members(); len(m) != 0 {
			wrong("members of a tree that is gone: %v", m)
		}
		_ = t.Kill(context.Background())
		if err := WaitGone(context.Background(), old, time.Second); err != nil {
			wrong("one that has ended is waited for: %v", err)
		}
		if err := WaitGone(context.Background(), id, 20*time.Millisecond); err == nil {
			wrong("the new one is taken for gone")
		}
		_ = cmd.Cancel()
		if err := cmd.Wait(); err != nil {
			wrong("it got a signal meant for another: %v", err)
		}
		fmt.Println("done")
		return
	}
	wrong("the pid was never reused")
}
