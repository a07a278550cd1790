package postgres_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"lifeline/cmd/lifeline-remote/internal/postgres"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

// owner returns a connection of the database's owner.
func owner(t *testing.T, server string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func exec(t *testing.T, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestEncodings checks that lifeline's session works with any encoding and defaults of
// a database. Only a node's name has to fit the encoding.
func TestEncodings(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	c := owner(t, server)
	for _, one := range []struct{ name, encoding, node, query string }{
		{"ascii", "SQL_ASCII", "nöde", ""},
		{"latin", "LATIN1", "nöde", ""},
		{"asked", "LATIN1", "nöde", "?client_encoding=LATIN1"},
		{"strings", "UTF8", "nöde", ""},
		{"refused", "LATIN1", "節点", ""},
	} {
		exec(t, c, "CREATE DATABASE "+one.name+" ENCODING '"+one.encoding+"' LC_COLLATE 'C' LC_CTYPE "+
			"'C' TEMPLATE template0")
		exec(t, c, "ALTER DATABASE "+one.name+" SET standard_conforming_strings = off")
		address := strings.TrimSuffix(server, "postgres") + one.name + one.query
		if err := postgres.Init(t.Context(), address, ""); err != nil {
			t.Fatalf("%s: %v", one.name, err)
		}
		p, err := postgres.Open(t.Context(), address, "", "web")
		if err != nil {
			t.Errorf("%s: %v", one.name, err)
			continue
		}
		defer p.Close()
		_, err = p.Join(t.Context(), engine.Member{Name: "web", Node: one.node, TTL: time.Minute, Slots: 1})
		if one.name == "refused" {
			if !errors.As(err, new(*engine.Refused)) || !strings.Contains(err.Error(), "encoding") {
				t.Errorf("a name that the encoding lacks: %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", one.name, err)
		}
		view, err := p.Look(t.Context(), "web")
		if err != nil || len(view.States) != 1 || view.States[0].Members[0].Node != one.node {
			t.Errorf("%s: %v, %v", one.name, view, err)
		}
	}
}

// TestOneConnection checks that a session has one connection, which both asks and
// listens. When the connection ends, the next call opens another, which listens too.
func TestOneConnection(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	if err := postgres.Init(t.Context(), server, ""); err != nil {
		t.Fatal(err)
	}
	c := owner(t, server)
	p, err := postgres.Open(t.Context(), server, "", "web")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Join(t.Context(), engine.Member{Name: "web", Node: "a", TTL: time.Minute, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		if _, err := p.Renew(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var n int
		if err := c.QueryRow(t.Context(),
			"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lifeline-remote'").
			Scan(&n); err != nil || n != 1 {
			t.Fatalf("round %d: %d connections, %v", round, n, err)
		}
		for range 20 { // calls between the notifications
			select {
			case <-p.Changes():
			default:
			}
			exec(t, c, "SELECT pg_notify('lifeline', 'web')")
			select {
			case <-p.Changes():
			case <-t.Context().Done():
				t.Fatal("it wasn't heard")
			}
			if _, err := p.Renew(t.Context()); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		exec(t, c, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "+
			"application_name = 'lifeline-remote'")
		// Changes rings when the connection ends, so that the next call comes soon.
		select {
		case <-p.Changes():
		case <-t.Context().Done():
			t.Fatal("the end of the connection wasn't heard")
		}
	}
}

// TestDeadHost checks that a call has time for the others when one host has died and
// answers nothing.
func TestDeadHost(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	if err := postgres.Init(t.Context(), server, ""); err != nil {
		t.Fatal(err)
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, and no program reads them
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	address := strings.Replace(server, "proof@", "proof@"+dead.Addr().String()+",", 1)
	p, err := postgres.Open(t.Context(), address, "", "web")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Join(t.Context(), engine.Member{Name: "web", Node: "a", TTL: time.Minute, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	exec(t, owner(t, server), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "+
		"application_name = 'lifeline-remote'")
	for n := 1; ; n++ {
		call, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // pgx waits for 3 s
		_, err := p.Renew(call)
		cancel()
		if err == nil {
			return
		}
		if n == 5 { // the first may find its connection ended
			t.Fatal(err)
		}
	}
}

// TestBusyServer checks that a busy server without TLS isn't refused because of TLS. By
// default both kinds of connection are tried.
func TestBusyServer(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	if err := postgres.Init(t.Context(), server, ""); err != nil {
		t.Fatal(err)
	}
	c := owner(t, server)
	exec(t, c, "CREATE USER worker CONNECTION LIMIT 0")
	address := strings.Replace(server, "proof@", "worker@", 1)
	_, err := postgres.Open(t.Context(), address, "", "web")
	if err == nil || errors.As(err, new(*engine.Refused)) || !strings.Contains(err.Error(), "too many connections") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("without a free connection: %v", err)
	}
	_, err = postgres.Open(t.Context(), address+"?sslmode=require", "", "web")
	if !errors.As(err, new(*engine.Refused)) || !strings.Contains(err.Error(), "no TLS connection") {
		t.Errorf("with TLS alone: %v", err)
	}
}
