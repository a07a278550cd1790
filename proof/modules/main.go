// Modules lists the modules that are linked into the shipped programs, each with its
// version, checksum and licence.
//
//	go run ./proof/modules >MODULES.md      (make modules)
//	go run ./proof/modules -notices         the licences' texts, which packages carry
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const tags = "urfave_cli_no_docs,osusergo,netgo"

// programs has the packages that are built and shipped, by the name of the program.
var programs = []struct{ name, from string }{
	{"lifeline", "."},
	{"lifeline-remote", "./cmd/lifeline-remote"},
}

// licences has the accepted licences, which ask only for attribution: says is text of
// the licence, not is text that it lacks. A person has to look at any other licence.
var licences = []struct{ id, says, not string }{
	{"Apache-2.0", "Apache License Version 2.0, January 2004", ""},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy of this software", ""},
	{"BSD-3-Clause", "Redistribution and use in source and binary forms, with or without modification, are permitted " +
		"provided that the following conditions are met: ", "!Neither the name of"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms, with or without modification, are permitted " +
		"provided that the following conditions are met: ", "Neither the name of"},
	{"ISC", "copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted", ""},
}

// never has words of licences that aren't accepted.
var never = []string{"GNU", "General Public", "Mozilla", "Commons Clause", "non-commercial", "Business Source"}

type module struct {
	Path, Version, Dir, Sum string
	Replace                 *module
}

func main() {
	make := list
	if len(os.Args) == 2 && os.Args[1] == "-notices" {
		make = notices
	}
	text, err := make()
	if err != nil {
		fmt.Fprintln(os.Stderr, "modules:", err)
		os.Exit(1)
	}
	os.Stdout.Write(text)
}

func list() ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprint(&out, "# What is linked in\n\nMade by `make modules`; a test fails when it isn't true any more. "+
		"Versions are pinned by go.mod, contents by the checksums in go.sum..\n")
	for _, p := range programs {
		modules, err := linked(p.from)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "\n## %s\n\n| module | version | licence | checksum |\n|---|---|---|---|\n", p.name)
		for _, m := range modules {
			licence, err := licenceOf(m.Dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.Path, err)
			}
			fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", m.Path, m.Version, licence, m.Sum)
		}
	}
	return out.Bytes(), nil
}

// notices returns the licence and notice files of every module that is linked in.
func notices() ([]byte, error) {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, p := range programs {
		modules, err := linked(p.from)
		if err != nil {
			return nil, err
		}
		for _, m := range modules {
			if seen[m.Path] {
				continue
			}
			seen[m.Path] = true
			if _, err := licenceOf(m.Dir); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Path, err)
			}
			entries, err := os.ReadDir(m.Dir)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				name := strings.ToUpper(e.Name())
				if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") &&
					!strings.HasPrefix(name, "NOTICE") {
					continue
				}
				text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(&out, "==== %s %s: %s\n\n%s\n\n", m.Path, m.Version, e.Name(), bytes.TrimSpace(text))
			}
		}
	}
	return out.Bytes(), nil
}

// linked lists the modules of others that are linked into a program.
func linked(from string) ([]module, error) {
	cmd := exec.Command("go", "list", "-deps", "-tags", tags, "-json=Module", from)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list the packages of %s: %w", from, err)
	}
	seen := map[string]module{}
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if p.Module != nil && p.Module.Version != "" {
			seen[p.Module.Path] = *p.Module
		}
	}
	var list []module
	for _, m := range seen {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// licenceOf reads the licence of a module. It fails unless the licence is accepted.
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		id, err := classify(string(text))
		if err != nil {
			return "", fmt.Errorf("%s: %w", e.Name(), err)
		}
		if !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		return "", errors.New("no licence")
	}
	return strings.Join(found, ", "), nil
}

func classify(text string) (string, error) {
	text = strings.Join(strings.Fields(text), " ")
	for _, word := range never {
		if strings.Contains(text, word) {
			return "", fmt.Errorf("it says %q: may we pass it on?", word)
		}
	}
	for _, l := range licences {
		not, has := strings.CutPrefix(l.not, "!")
		if strings.Contains(text, l.says) && (not == "" || strings.Contains(text, not) == has) {
			return l.id, nil
		}
	}
	return "", errors.New("no licence that is known here")
}
