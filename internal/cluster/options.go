package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"lifeline/internal/cluster/address"
)

// Options are the cluster's options on the command line.
type Options struct {
	URL         string // of the engine; "" for no cluster
	Prefix      string // the team of the names; "" for none
	Node        string // "" for the host name
	TTL         time.Duration
	Slots       int
	Prefer      string
	FailAfter   int
	Tick        string
	AtLeastOnce bool

	MaxClockSkew time.Duration // between this node and the engine, for ticks
	ForceOptions bool          // change what all nodes agree on
	ShareStatus  bool          // show this node's status of the name on every node
	Memory       string        // a file for what must survive lifeline-remote; "" for none
}

// longestAddress limits an address, in bytes: a whole cluster's hosts and files fit.
const longestAddress = 8192

// Check refuses wrong options, and sets Node if it is empty.
func (o *Options) Check(grace time.Duration) error {
	scheme, rest, ok := strings.Cut(o.URL, "://")
	if strings.HasPrefix(o.URL, "@") {
		url, err := address.Read(o.URL)
		if err != nil {
			return err
		}
		scheme, rest, ok = strings.Cut(url, "://")
	}
	switch {
	case !ok || rest == "":
		return errors.New("--cluster is an address such as etcd://HOST:2379,HOST:2379 or postgres://HOST/DATABASE")
	case strings.ContainsFunc(scheme, func(r rune) bool { return r < 'a' || r > 'z' }):
		return fmt.Errorf("cannot read --cluster: %w", address.Check(o.URL))
	case scheme != "etcd" && scheme != "etcds" && scheme != "postgres" && scheme != "postgresql":
		return fmt.Errorf("--cluster %s://…: the engines are etcd://, etcds:// (with TLS) and postgres://", scheme)
	case o.URL[0] != '@' && address.Check(o.URL) != nil:
		return fmt.Errorf("cannot read --cluster: %w", address.Check(o.URL))
	case len(o.URL) > longestAddress:
		return fmt.Errorf("--cluster is an address of %d bytes: at most %d fit", len(o.URL), longestAddress)
	case !utf8.ValidString(o.URL):
		return errors.New("--cluster isn't UTF-8: in an address, write such a byte as % and two hexadecimal digits")
	case len(o.Tick) > 1024:
		return fmt.Errorf("--tick is a schedule of %d bytes: at most 1024 fit", len(o.Tick))
	case o.Slots < 1 || o.Slots > 10000:
		return fmt.Errorf("--slots %d: it is 1 to 10000", o.Slots)
	case o.FailAfter < 0:
		return fmt.Errorf("--fail-after %d: it can't be negative", o.FailAfter)
	case o.AtLeastOnce && o.Tick == "":
		return errors.New("--at-least-once is for --tick: give a schedule")
	case o.Tick != "" && o.Slots > 1:
		return errors.New("--tick and --slots can't be had together: a tick is run once")
	}
	if o.Node == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			return errors.New("the host name can't be told: give --node NAME")
		}
		o.Node = host
	}
	if o.Node == "localhost" || strings.HasPrefix(o.Node, "localhost.") {
		return fmt.Errorf("this node calls itself %s, as others may: give --node NAME, another one on each", o.Node)
	}
	for _, n := range []string{o.Node, o.Prefer} {
		if err := CheckNode(n); err != nil {
			return err
		}
	}
	if err := CheckPrefix(o.Prefix); err != nil {
		return err
	}
	return Fits(o.TTL, grace)
}

// CheckPrefix refuses an invalid team name: it is a part of etcd's keys, and of a
// schema's name in PostgreSQL. Keys below /lifeline/ belong to names without a team.
func CheckPrefix(team string) error {
	if len(team) > 40 || team == "lifeline" || strings.ContainsFunc(team, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	}) {
		return fmt.Errorf("--cluster-prefix %.60q: it is up to 40 of a-z, 0-9 and _, and not lifeline", team)
	}
	return nil
}

// CheckNode refuses an invalid node name.
func CheckNode(n string) error {
	if len(n) > 255 || !utf8.ValidString(n) || strings.ContainsFunc(n,
		func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
		return fmt.Errorf("%q can't be a node's name: UTF-8 without spaces and slashes, at most 255 bytes", n)
	}
	return nil
}

// Program is the file name of lifeline-remote.
const Program = "lifeline-remote"

// MissingError says that lifeline-remote was not found.
type MissingError struct{ Beside string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s, which --cluster needs, is neither in %s nor on PATH: install it there (it comes with "+
		"lifeline; from source: make build)", Program, e.Beside)
}

// Find looks for lifeline-remote beside this program, then on PATH.
func Find() (string, error) {
	dir := "this program's directory"
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		dir = filepath.Dir(self)
		if path, err := exec.LookPath(filepath.Join(dir, Program)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(Program)
	if err != nil || !filepath.IsAbs(path) {
		return "", &MissingError{dir}
	}
	return path, nil
}
