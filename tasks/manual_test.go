package tasks

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lifeline/proof/need"

	"github.com/urfave/cli/v2"
)

// TestManual checks that the manual has every command and every option, and that man(1)
// has nothing to say against it.
func TestManual(t *testing.T) {
	var page bytes.Buffer
	text, err := os.ReadFile("../packaging/man/lifeline.txt")
	if err != nil {
		t.Fatal(err)
	}
	if err := Manual(&page, string(text), "2026-01-02"); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(`\-`, "-", `\fB`, "", `\fR`, "", `\(aq`, "'", `\&`, "").Replace(page.String())
	want := []string{".TH LIFELINE 1 \"2026-01-02\"", ".SH NAME", ".SH EXIT STATUS", ".SH FILES"}
	all := append(commands([]string{"lifeline", ""}),
		&cli.Command{Name: "lifeline", Flags: flags(new(options).table())})
	for _, c := range all {
		if c.Name != "lifeline" {
			want = append(want, `.SS "`+strings.Join(c.Names(), ", "))
		}
		for _, name := range optionNames(optionsOf(c.Flags)) {
			if len(name) > 1 {
				want = append(want, "--"+name)
			}
		}
	}
	for _, s := range want {
		if !strings.Contains(plain, s) {
			t.Errorf("the manual has no %q", s)
		}
	}
	cmd := exec.Command(need.Program(t, "groff"), "-man", "-ww", "-Tutf8", "-rLL=72n")
	cmd.Stdin = &page
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("%v: %s", err, complaints.String())
	}
	// What is to be typed is shown as it is typed.
	if !bytes.Contains(out,
		[]byte("lifeline install --schedule '*/5 * * * *' --max-runtime 10m billing -- /usr/local/bin/billing")) {
		t.Errorf("the example is not what people can type:\n%s", out)
	}
}

// TestExitCodes checks that the manual's exit codes are the README's.
func TestExitCodes(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\n| exit code | means |\n|---|---|\n")
	var there []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			break
		}
		there = append(there, strings.Split(strings.TrimSpace(cells[1]), ", ")...)
	}
	var here []string
	for _, code := range exitCodes() {
		here = append(here, code[0])
	}
	if !slices.Equal(there, here) {
		t.Errorf("the README has %q, the manual %q", there, here)
	}
}
