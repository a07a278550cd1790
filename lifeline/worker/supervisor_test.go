package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/proof/need"
)

// childAsk goes through the whole conversation.
func childAsk() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fmt.Println("supervised", Supervised())
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"ping", PingSupervisor}, {"takeover", ReadyToTakeOver}, {"takeover", ReadyToTakeOver}, {"shutdown", Shutdown},
		{"ping", PingSupervisor}} {
		err := step.do(ctx)
		fmt.Println(step.name, errors.Is(err, ErrSupervisorGone), err)
	}
	return nil
}

func TestConversation(t *testing.T) {
	ours, theirs := socketpair(t)
	c := start(t, "ask", []string{"LIFELINE_FD=3"}, theirs)
	theirs.Close()
	in := bufio.NewReader(ours)
	c.expect("supervised true")
	expectLine(t, in, "ping")
	reply(t, ours, "pong\n")
	c.expect("ping false <nil>")
	expectLine(t, in, "takeover")
	reply(t, ours, "ok\n")
	c.expect("takeover false <nil>")
	c.expect("takeover false <nil>") // once is enough
	expectLine(t, in, "shutdown")
	c.expect("shutdown false <nil>")
	expectLine(t, in, "ping")
	ours.Close()
	c.expect("ping true the supervisor is gone")
	c.expect("")
}

func TestAlone(t *testing.T) {
	c := start(t, "ask", nil)
	c.expect("supervised false")
	for _, name := range []string{"ping", "takeover", "takeover", "shutdown", "ping"} {
		c.expect(name + " false <nil>")
	}
}

// TestDescriptorLost checks that a closed descriptor, or another file under its
// number, is an error, and that the other file isn't touched.
func TestDescriptorLost(t *testing.T) {
	for value, want := range map[string]string{
		"77":  "LIFELINE_FD=77: it wasn't inherited (was it closed on the way here?)",
		"one": "LIFELINE_FD=one: not a descriptor's number",
		"1":   "LIFELINE_FD=1: not a descriptor's number",
		"3":   "LIFELINE_FD=3: not a unix stream socket",
	} {
		t.Run(value, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c := start(t, "ask", []string{"LIFELINE_FD=" + value}, f)
			c.expect("supervised false")
			c.expect("ping false cannot reach the supervisor by " + want)
		})
	}
}

// childWatch lives until its supervisor is gone.
func childWatch() error {
	ctx, cancel := WithSupervisor(context.Background())
	defer cancel()
	if err := PingSupervisor(ctx); err != nil {
		return err
	}
	fmt.Println("up")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	return nil
}

func TestEndOfFile(t *testing.T) {
	ours, theirs := socketpair(t)
	c := start(t, "watch", []string{"LIFELINE_FD=3"}, theirs)
	theirs.Close()
	expectLine(t, bufio.NewReader(ours), "ping")
	reply(t, ours, "pong\n")
	c.expect("up")
	ours.Close()
	c.expect("the supervisor is gone")
	c.expect("")
}

// childSupervisor plays the supervisor of a worker that forks twice.
func childSupervisor() error {
	t := new(testing.T)
	ours, theirs := socketpair(t)
	cmd := exec.Command("/bin/sh", "-c", `setsid "$0" & exit 0`, os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD=watch", "LIFELINE_FD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	theirs.Close()
	for in := bufio.NewScanner(ours); in.Scan(); {
		if in.Text() == "ping" {
			if _, err := ours.Write([]byte("pong\n")); err != nil {
				return err
			}
		}
	}
	return errors.New("the worker ended first")
}

// TestSupervisorKilled checks that a worker which left its supervisor's session and
// process tree still ends when the supervisor is killed.
func TestSupervisorKilled(t *testing.T) {
	need.Program(t, "setsid")
	s := start(t, "supervisor", nil)
	s.expect("up")
	if err := s.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.expect("the supervisor is gone")
	s.expect("") // the worker, which had the pipe too, has ended
}

// childInherit shows what a worker's own child sees.
func childInherit() error {
	show := func() error {
		cmd := exec.Command("/bin/sh", "-c",
			`echo "${LIFELINE_FD-none}" $(for fd in 3 4 5 6 7 8 9; do [ -e /dev/fd/$fd ] && echo $fd; done)`)
		out, err := cmd.Output()
		fmt.Println(strings.TrimSpace(string(out)))
		return err
	}
	ctx, cancel := WithSupervisor(context.Background())
	defer cancel()
	if err := show(); err != nil {
		return err
	}
	return PingSupervisor(ctx)
}

func TestChildrenDoNotInherit(t *testing.T) {
	ours, theirs := socketpair(t)
	c := start(t, "inherit", []string{"LIFELINE_FD=3"}, theirs)
	theirs.Close()
	c.expect("none")
	expectLine(t, bufio.NewReader(ours), "ping")
	reply(t, ours, "pong\n")
	c.expect("")
}

// The rest runs in virtual time, against a pipe in memory.

func TestPingWaitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		s := newSupervisor(theirs)
		in := bufio.NewReader(ours)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		first := make(chan error, 1)
		go func() { first <- s.ping(ctx) }()
		expectLine(t, in, "ping")
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("ping to a silent supervisor: %v, want a deadline", err)
		}

		// The second ping goes out after the owed pong has come, and doesn't take
		// that pong for its own.
		second := make(chan error, 1)
		go func() { second <- s.ping(t.Context()) }()
		synctest.Wait()
		reply(t, ours, "pong\n")
		expectLine(t, in, "ping")
		synctest.Wait()
		select {
		case err := <-second:
			t.Fatalf("the late answer to the first ping ended the second: %v", err)
		default:
		}
		reply(t, ours, "pong\n")
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		ours.Close()
		<-s.gone
	})
}

func TestTakeoverOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		s := newSupervisor(theirs)
		in := bufio.NewReader(ours)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		impatient := make(chan error, 1)
		go func() { impatient <- s.takeOver(ctx) }()
		expectLine(t, in, "takeover")

		// The supervisor answers pings while the old generation ends. The worker
		// ignores nonsense, and answers that it didn't ask for.
		ping := make(chan error, 1)
		go func() { ping <- s.ping(t.Context()) }()
		expectLine(t, in, "ping")
		reply(t, ours, "eh?\npong\npong\n")
		if err := <-ping; err != nil {
			t.Fatal(err)
		}
		if err := <-impatient; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("takeover: %v, want a deadline", err)
		}
		again := make(chan error, 1)
		go func() { again <- s.takeOver(t.Context()) }()
		synctest.Wait()
		reply(t, ours, "ok\nok\n")
		if err := <-again; err != nil {
			t.Fatal(err)
		}
		ours.Close()
		<-s.gone
		if err := s.takeOver(t.Context()); err != nil {
			t.Errorf("takeover after success: %v, want nil", err)
		}
		if err := s.ping(t.Context()); !errors.Is(err, ErrSupervisorGone) {
			t.Errorf("ping after the end: %v, want ErrSupervisorGone", err)
		}
	})
}

// TestPingsToStoppedSupervisor checks that many pings to a supervisor that reads
// nothing give up instead of blocking in write, and send one request.
func TestPingsToStoppedSupervisor(t *testing.T) {
	ours, theirs := socketpair(t)
	conn, err := net.FileConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	s := newSupervisor(conn)
	theirs.Close()
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := s.ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	buf := make([]byte, 100)
	if n, err := ours.Read(buf); err != nil || string(buf[:n]) != "ping\n" {
		t.Errorf("the supervisor finds %q, %v; want one ping", buf[:n], err)
	}
}

func TestFence(t *testing.T) {
	for value, want := range map[string]struct {
		token uint64
		ok    bool
	}{"": {}, "0": {0, true}, "18446744073709551615": {1<<64 - 1, true}, "7x": {}} {
		t.Setenv("LIFELINE_FENCE", value)
		if token, ok := Fence(); ok != want.ok || ok && token != want.token {
			t.Errorf("LIFELINE_FENCE=%q: %d, %v", value, token, ok)
		}
	}
}
