package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const page = "# x\n\n### A start, 20 processes\n\n| | median | how |\n|---|--:|---|\n| lifeline | 3.1 ms | `x` |\n| " +
	"pgrep -f | 900 µs | `y` |\n| once | 1 s | |\n\n### A start, 10000 processes\n\n| | median | how " +
	"|\n|---|--:|---|\n| lifeline | 0.08 s | `x` |\n| pgrep -f | 0.2 s | `y` |\n\n### Memory\n\n| | median " +
	"|\n|---|--:|\n| lifeline | 3 ms |\n"

func TestParse(t *testing.T) {
	charts := parse(page)
	rows := charts["A start"]
	if len(charts) != 1 || len(rows) != 2 || rows[0].name != "lifeline" {
		t.Fatalf("%+v", charts)
	}
	if p := rows[0].points; p[0].X != 20 || p[0].Y != 3.1 || p[1].X != 10000 || p[1].Y != 80 {
		t.Errorf("%v", p)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "B.md")
	if err := os.WriteFile(from, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(from, dir); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "bench-a-start.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for d := xml.NewDecoder(f); ; n++ {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < 50 {
		t.Errorf("only %d elements", n)
	}
	if err := os.WriteFile(from, []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if run(from, dir) == nil {
		t.Error("a page without tables is drawn")
	}
}
