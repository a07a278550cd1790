package tasks

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The manual has every command and every option, and man(1) has nothing to say
// against it.
func TestManual(t *testing.T) {
	var page bytes.Buffer
	if err := Manual(&page, "2026-01-02"); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(`\-`, "-", `\fB`, "", `\fR`, "", `\(aq`, "'", `\&`, "").Replace(page.String())
	want := []string{".TH LIFELINE 1 \"2026-01-02\"", ".SH NAME", ".SH EXIT STATUS", ".SH FILES"}
	all := append(commands([]string{"lifeline", ""}), &cli.Command{Name: "lifeline", Flags: new(options).flags()})
	for _, c := range all {
		if c.Name != "lifeline" {
			want = append(want, `.SS "`+strings.Join(c.Names(), ", "))
		}
		for _, name := range optionNames(c.Flags) {
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
	groff, err := exec.LookPath("groff")
	if err != nil {
		if os.Getenv("LIFELINE_TEST_STRICT") != "" {
			t.Fatal("missing on this machine: groff")
		}
		t.Skip("missing on this machine: groff")
	}
	cmd := exec.Command(groff, "-man", "-ww", "-Tutf8", "-rLL=72n")
	cmd.Stdin = &page
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("%v: %s", err, complaints.String())
	}
	// What is to be typed is shown as it is typed.
	if !bytes.Contains(out, []byte("lifeline install --schedule '*/5 * * * *' --max-runtime 10m report -- /usr/local/bin/report")) {
		t.Errorf("the example is not what people can type:\n%s", out)
	}
}
