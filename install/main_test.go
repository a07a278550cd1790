package install

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

// dumpWord makes the test binary, started by a real cron, report its words
// on the unix socket that follows.
const dumpWord = "report-words-to"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == dumpWord {
		conn, err := net.Dial("unix", os.Args[2])
		if err == nil {
			_, err = conn.Write([]byte(strings.Join(os.Args[3:], "\x00")))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// web returns the entry that most tests begin with.
func web() Entry {
	return Entry{Name: "web", Binary: "/usr/bin/lifeline", Command: []string{"/srv/serve"}, Reboot: true}
}

const webBlock = `# lifeline web begin -- made by "lifeline install", undone by "lifeline uninstall web"
@reboot exec /usr/bin/lifeline web -- /srv/serve
* * * * * exec /usr/bin/lifeline web -- /srv/serve
# lifeline web end
`

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}
