//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// database returns $DATABASE, or starts PostgreSQL in dir and returns its URL.
func database(ctx context.Context, dir string) (url string, stop func(), err error) {
	if url = os.Getenv("DATABASE"); url != "" {
		return url, func() {}, nil
	}
	bin := ""
	if path, err := exec.LookPath("initdb"); err == nil {
		bin = filepath.Dir(path)
	} else if paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(paths) > 0 {
		bin = filepath.Dir(paths[len(paths)-1])
	} else {
		return "", nil, fmt.Errorf("there is no PostgreSQL here: install it (Debian: apt-get install postgresql), or " +
			"set DATABASE to the URL of one")
	}
	home := filepath.Join(dir, "postgres")
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", nil, err
	}
	var who *syscall.Credential
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", nil, fmt.Errorf("root can't run PostgreSQL, and there is no user postgres: %w", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		who = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(home, uid, gid); err != nil {
			return "", nil, err
		}
		if err := os.Chmod(dir, 0o711); err != nil {
			return "", nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	run := func(ctx context.Context, name string, args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = home, &syscall.SysProcAttr{Credential: who, Setpgid: true} // ^C is for this program
		log, err := os.CreateTemp(dir, name)
		if err != nil {
			return err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log // the server would hold a pipe open
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s: %w\n%s", name, err, text)
		}
		return nil
	}
	data := filepath.Join(home, "data")
	if err := run(ctx, "initdb", "-D", data, "-U", "demo", "-A", "trust", "--no-sync"); err != nil {
		return "", nil, err
	}
	if err := run(ctx, "pg_ctl", "-D", data, "-w", "-l", filepath.Join(home, "log"), "-o",
		fmt.Sprintf("-p %s -k %s -c listen_addresses=127.0.0.1 -c fsync=off", port, home), "start"); err != nil {
		return "", nil, err
	}
	stop = func() { _ = run(context.Background(), "pg_ctl", "-D", data, "-m", "immediate", "stop") }
	return fmt.Sprintf("postgres://demo@127.0.0.1:%s/postgres?sslmode=disable", port), stop, nil
}

// programs returns $LIFELINE, or builds lifeline from the present source with
// lifeline-remote beside it, and returns its path.
func programs(ctx context.Context, dir string) (string, error) {
	if path := os.Getenv("LIFELINE"); path != "" {
		return filepath.Abs(path)
	}
	work, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output() // go.work stands at the top of the source
	if err != nil {
		return "", fmt.Errorf("cannot find lifeline's source: %w", err)
	}
	for name, from := range map[string]string{"lifeline": ".", "lifeline-remote": "./cmd/lifeline-remote"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Dir(string(work)), "-tags",
			"urfave_cli_no_docs,osusergo,netgo", "-o",
			filepath.Join(dir, name), from)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("cannot build %s (run this inside lifeline's source, or set LIFELINE "+
				"to the program): %w\n%s",
				name, err, text)
		}
	}
	return filepath.Join(dir, "lifeline"), nil
}
