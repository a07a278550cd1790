// Webserver is a small web server that is replaced by a new version without
// losing a request. It runs unchanged under lifeline, under systemd's socket
// activation, and alone:
//
//	go build -o webserver ./examples/webserver
//	./webserver -listen 127.0.0.1:8080
//	systemd-socket-activate -l 8080 ./webserver
//	lifeline --respawn --notify --listen tcp://127.0.0.1:8080 web -- ./webserver
//
//	curl -d hello http://127.0.0.1:8080/echo
//	go build -o webserver ./examples/webserver && lifeline reload web
//
// With -takeover FILE it is a singleton, which holds an exclusive lock on FILE. It has
// its previous generation ended before it takes the lock, while requests wait in the
// socket.
//
// -crash-after and -hang make it a bad new version. `lifeline reload` turns that
// version down, and the old version goes on.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/worker"
)

type options struct {
	listen     string
	version    string
	takeover   string
	crashAfter time.Duration
	hang       bool
	drain      worker.Drain
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8080",
		"`address` to listen on when no supervisor hands over a socket")
	flag.StringVar(&o.version, "version", "1", "`label` that every answer carries")
	flag.StringVar(&o.takeover, "takeover", "", "take over from the previous generation, then lock this `file`")
	flag.DurationVar(&o.crashAfter, "crash-after", 0, "exit with 1 after this time; 0 for never")
	flag.BoolVar(&o.hang, "hang", false, "never become ready")
	flag.DurationVar(&o.drain.Idle, "idle", worker.DefaultIdle, "how long an idle connection is kept at the end")
	flag.DurationVar(&o.drain.Timeout, "drain", worker.DefaultTimeout, "how long the end may take")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("webserver: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := worker.WithSupervisor(ctx)
	defer cancel()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	l, err := worker.Listen("", "tcp", o.listen)
	if err != nil {
		return err
	}
	if o.crashAfter > 0 {
		time.AfterFunc(o.crashAfter, func() { log.Fatal("crashes, as asked by -crash-after") })
	}
	if o.hang {
		<-ctx.Done()
		return nil
	}
	if o.takeover != "" {
		if err := worker.ReadyToTakeOver(ctx); err != nil {
			return err
		}
		f, err := lock(o.takeover)
		if err != nil {
			return err
		}
		defer f.Close()
	}
	if err := worker.Ready(); err != nil {
		return err
	}
	a := &app{version: o.version}
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx, for the drain
	defer cancel()
	go worker.Watchdog(alive, a.report)
	go a.reportEvery(alive, time.Second)
	context.AfterFunc(ctx, func() { worker.Stopping() })
	return o.drain.Serve(ctx, &http.Server{Handler: a.routes()}, l)
}

// lock takes the exclusive resource. It fails at once if the resource is taken,
// because a takeover leaves it free.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return f, nil
}

type app struct {
	version string

	mu       sync.Mutex
	requests int
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", a.echo)
	mux.HandleFunc("GET /pid", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, os.Getpid())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.requests++
		a.mu.Unlock()
		w.Header().Set("Version", a.version)
		w.Header().Set("Pid", fmt.Sprint(os.Getpid()))
		mux.ServeHTTP(w, r)
	})
}

// echo reads the whole body first: net/http cuts a body short that is still
// unread when the answer begins.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	w.Write(body)
}

// report needs the lock that every request needs. If a request keeps the lock
// forever, the watchdog's check hangs with all the other requests.
func (a *app) report(context.Context) error {
	a.mu.Lock()
	n := a.requests
	a.mu.Unlock()
	return worker.Status("version %s, %d requests", a.version, n)
}

func (a *app) reportEvery(ctx context.Context, d time.Duration) {
	for ticker := time.NewTicker(d); ; {
		a.report(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
