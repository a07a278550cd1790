//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// server is a server from a Debian package.
type server struct {
	what    string
	needs   [2]string
	ask     asker
	clients whichClients
	note    string   // why the server loses requests
	loses   bool     // lost requests are reported, not judged
	options []string // of lifeline
	listen  string   // the end of --listen's address
	// argv returns the command that starts the server in dir, with the socket that
	// lifeline hands over or with its own socket at address.
	argv func(dir, address string, own bool) ([]string, error)
}

const page = "the page that every client wants\n"

const gunicornApp = `def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
`

func gunicorn(class string) func(dir, address string, own bool) ([]string, error) {
	return func(dir, address string, own bool) ([]string, error) {
		argv := []string{"/usr/bin/gunicorn", "--workers", "2", "--log-level", "warning", "--chdir",
			dir, "--worker-class",
			class}
		if class == "gthread" {
			argv = append(argv, "--threads", "8")
		}
		if own {
			argv = append(argv, "--bind", address)
		}
		return append(argv, "app:app"), os.WriteFile(filepath.Join(dir, "app.py"), []byte(gunicornApp), 0o644)
	}
}

func lighttpd(dir, address string, own bool) ([]string, error) {
	host, port, _ := strings.Cut(address, ":")
	conf := fmt.Sprintf("server.document-root = %q\nserver.bind = %q\nserver.port = %s\nserver.pid-file = %q\n", dir,
		host, port, filepath.Join(dir, "pid"))
	if !own {
		conf += "server.systemd-socket-activation = \"enable\"\n"
	}
	path := filepath.Join(dir, "lighttpd.conf")
	err := errors.Join(os.WriteFile(path, []byte(conf), 0o644), os.WriteFile(filepath.Join(dir, "page"), []byte(page),
		0o644))
	return []string{"/usr/sbin/lighttpd", "-D", "-f", path}, err
}

// puma uses the inherited socket if the address is the one that it binds.
func puma(dir, address string, _ bool) ([]string, error) {
	app := filepath.Join(dir, "app.ru")
	text := fmt.Sprintf("run lambda { |env| [200, {'Content-Type' => 'text/plain'}, [%q]] }\n", page)
	return []string{"/usr/bin/puma", "--quiet", "--dir", dir, "--bind", "tcp://" + address, app}, os.WriteFile(app,
		[]byte(text), 0o644)
}

// starman takes the socket by SERVER_STARTER_PORT.
func starman(dir, address string, own bool) ([]string, error) {
	app := filepath.Join(dir, "app.psgi")
	argv := []string{"/usr/bin/starman", "--workers", "4", "--disable-keepalive"}
	if own {
		argv = append(argv, "--listen", address)
	}
	text := fmt.Sprintf("sub { [200, ['Content-Type' => 'text/plain', 'Content-Length' => %d], [%q]] }\n", len(page),
		page)
	return append(argv, app), os.WriteFile(app, []byte(text), 0o644)
}

// nginx takes over sockets by its own variable, as from an older nginx. It expects
// non-blocking sockets. On a blocking socket the slower of two workers stops in accept,
// and leaves its connections unanswered.
func nginx(dir, address string, own bool) ([]string, error) {
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid pid; error_log stderr; worker_processes 2; events {}\nhttp { access_log off; "+
		"server { listen %s; location / { return 200 %q; } } }\n", address, page)
	argv := []string{"/usr/sbin/nginx", "-e", "stderr", "-p", dir, "-c", conf}
	if !own {
		argv = append([]string{"/usr/bin/env", "NGINX=3;"}, argv...)
	}
	return argv, os.WriteFile(conf, []byte(text), 0o644)
}

const nodeApp = `const cluster = require('cluster'), http = require('http');
const [at, own] = process.argv.slice(2), page = %q;
cluster.schedulingPolicy = cluster.%s;
if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
  process.on('SIGTERM', () => cluster.disconnect(() => process.exit(0)));
} else {
  const s = http.createServer((q, r) => { q.resume(); r.end(page); });
  const [host, port] = at.split(':');
  if (own) s.listen({ host, port }); else s.listen({ fd: 3 });
}
`

func node(policy string) func(dir, address string, own bool) ([]string, error) {
	return func(dir, address string, own bool) ([]string, error) {
		app := filepath.Join(dir, "app.js")
		argv := []string{"/usr/bin/node", app, address}
		if own {
			argv = append(argv, "own")
		}
		return argv, os.WriteFile(app, fmt.Appendf(nil, nodeApp, page, policy), 0o644)
	}
}

// Clients with a new connection for each request, and clients with keep-alive too.
var (
	fresh = whichClients{0, 8}
	kept  = whichClients{8, 0}
)

var (
	gunicornNeeds = [2]string{"gunicorn", "gunicorn"}
	lighttpdNeeds = [2]string{"lighttpd", "lighttpd"}
	nodeNeeds     = [2]string{"node", "nodejs"}
)

var servers = []server{
	{what: "gunicorn, sync workers", needs: gunicornNeeds, ask: echo, clients: eight, argv: gunicorn("sync"),
		options: []string{"--notify", "--settle", "1s"},
		note:    "closes every connection after its answer"},
	{what: "gunicorn, gthread workers, no keep-alive", needs: gunicornNeeds, ask: echo, clients: fresh,
		argv: gunicorn("gthread"), options: []string{"--notify", "--settle", "1s"}},
	{what: "gunicorn, gthread workers, keep-alive", needs: gunicornNeeds, ask: echo, clients: kept,
		argv: gunicorn("gthread"), options: []string{"--notify", "--settle", "1s"},
		note: "when it ends it closes kept connections at once, also one that a request is just coming in on"},
	{what: "lighttpd, no keep-alive", needs: lighttpdNeeds, ask: get("/page", []byte(page)), clients: fresh,
		argv: lighttpd, options: []string{"--stop-signal", "INT", "--ready-after", "500ms"}},
	{what: "lighttpd, keep-alive", needs: lighttpdNeeds, ask: get("/page", []byte(page)), clients: kept, argv: lighttpd,
		options: []string{"--stop-signal", "INT", "--ready-after", "500ms"},
		note: "SIGINT is its graceful end, which closes kept connections at once, also one that a request is just " +
			"coming in on"},
	{what: "lighttpd, keep-alive, stopped by TERM", needs: lighttpdNeeds,
		ask: get("/page", []byte(page)), clients: kept,
		argv: lighttpd, options: []string{"--ready-after", "500ms"},
		note: "SIGTERM is its end at once"},
	{what: "puma", needs: [2]string{"puma", "puma"}, ask: get("/", []byte(page)), clients: fresh, argv: puma,
		options: []string{"--ready-after", "2s"}, loses: true,
		note: "at its end it closes connections that it has accepted and on which no request has come yet"},
	{what: "starman", needs: [2]string{"starman", "starman"}, ask: get("/", []byte(page)),
		clients: fresh, argv: starman,
		options: []string{"--stop-signal", "QUIT", "--ready-after", "2s"}, loses: true,
		note: "a child that is told to end between its accept and its own mark of it closes the connection"},
	{what: "nginx", needs: [2]string{"nginx", "nginx-light"}, ask: get("/", []byte(page)), clients: fresh, argv: nginx,
		options: []string{"--stop-signal", "QUIT", "--ready-after", "1s"}, listen: "?nonblock"},
	{what: "node's cluster, workers accept", needs: nodeNeeds, ask: get("/", []byte(page)), clients: fresh,
		argv:    node("SCHED_NONE"),
		options: []string{"--ready-after", "1s"}},
	{what: "node's cluster, its primary accepts", needs: nodeNeeds, ask: get("/", []byte(page)), clients: fresh,
		argv:    node("SCHED_RR"),
		options: []string{"--ready-after", "1s"}, loses: true,
		note: "its default: at its end the primary closes what it has accepted and not yet given to a worker"},
}

// reloadServer reloads a server under load. Then it restarts the server, which opens
// its own socket.
func (s *site) reloadServer(o server, n int) (reloaded, restarted row, err error) {
	if err := lacks(o.needs[0], o.needs[1]); err != nil {
		return reloaded, restarted, err
	}
	for _, own := range []bool{false, true} {
		r, err := s.serveOther(o, n, own)
		if err != nil {
			return reloaded, restarted, fmt.Errorf("%s: %w", o.what, err)
		}
		if r.note = o.note; own {
			r.what = "the same, a plain restart"
			restarted = r
		} else {
			r.what = o.what + ", `lifeline " + strings.Join(o.options, " ") + "`"
			reloaded = r
		}
	}
	return reloaded, restarted, nil
}

func (s *site) serveOther(o server, n int, own bool) (row, error) {
	dir, err := s.sub()
	if err != nil {
		return row{}, err
	}
	at, err := freeAddress()
	if err != nil {
		return row{}, err
	}
	argv, err := o.argv(dir, at, own)
	if err != nil {
		return row{}, err
	}
	options := append([]string{"--respawn", "--respawn-delay", "0s", "--kill-after", "40s"}, o.options...)
	if !own {
		options = append(options, "--listen", "tcp://"+at+o.listen)
	}
	v, err := s.serve("", options, argv...)
	if err != nil {
		return row{}, err
	}
	r, err := under(at, o.ask, o.clients, n, 0, func(int) error {
		if !own {
			return v.settledReload()
		}
		if text, code := v.command("restart"); code != 0 {
			return fmt.Errorf("lifeline restart: code %d, %s", code, text)
		}
		return await("the new one to listen", func() bool { return listens(at) })
	})
	return r, errors.Join(err, v.end())
}

func serversMode(s *site, n int, _ uint64) error {
	n = or(n, 20)
	fmt.Printf("\n### Servers from Debian's packages (gunicorn%s, lighttpd%s), 8 clients\n\n%s", version("gunicorn"),
		version("lighttpd"), rowsHead)
	var all error
	for _, o := range servers {
		reloaded, restarted, err := s.reloadServer(o, n)
		var missing *missingError
		switch {
		case errors.As(err, &missing):
			fmt.Println(row{what: missing.Error()})
		case err != nil:
			all = errors.Join(all, err)
		default:
			fmt.Printf("%s\n%s\n", reloaded, restarted)
		}
	}
	return all
}
