//go:build linux

package page

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// many writes the journals of 300 names with 2,000 runs each, as lifelines of a
// week with a bad day would have.
func many(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		name := fmt.Sprintf("customer-%03d.nightly-import", n)
		stem := filepath.Join(dir, name+"-"+digits(name))
		var history strings.Builder
		var last map[string]any
		ok := 0
		for i := range 2000 {
			start := at.Add(time.Duration(i-2000) * 5 * time.Minute)
			run := map[string]any{"start": start, "end": start.Add(time.Duration(random.IntN(200)+1) * time.Second),
				"pid":        1000 + i,
				"generation": fmt.Sprintf("%016x", random.Uint64()), "outcome": "ok", "code": 0, "max_rss": 12345678,
				"cpu_seconds": 0.25, "supervisor": 999}
			switch bad := random.IntN(40); {
			case bad == 0 || i == 1999 && n%10 == 0:
				run["outcome"], run["code"], run["why"] = "failed", 1, "it ended by itself"
			case bad == 1:
				run["outcome"], run["signal"], run["code"], run["skipped"] = "killed", "SIGKILL", 137, 3
			case bad == 2:
				run["outcome"], run["code"] = "stopped", 143
			default:
				ok++
			}
			line, err := json.Marshal(run)
			if err != nil {
				t.Fatal(err)
			}
			history.Write(append(line, '\n'))
			last = run
		}
		state, err := json.Marshal(map[string]any{"version": 1, "name": name,
			"command": []string{"/srv/import/bin/import",
				"--customer", fmt.Sprint(n), "--config", "/etc/import/customers.d/config.toml"},
			"state": "ended", "since": at, "last": last, "last_success": at.Add(-time.Hour),
			"totals": map[string]int{"runs": 2000, "ok": ok, "failed": 2000 - ok}})
		if err != nil {
			t.Fatal(err)
		}
		output, err := json.Marshal(map[string]any{"end": at,
			"text": strings.Repeat("a line of what the import printed, of some length, with a reason at its end\n",
				20)})
		if err != nil {
			t.Fatal(err)
		}
		for ending, text := range map[string]string{".state": string(state), ".history": history.String(),
			".output": string(output)} {
			if err := os.WriteFile(stem+ending, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// digits returns those behind a name in the names of its files: the upper 48 bits of
// its FNV-1a.
func digits(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fmt.Sprintf("%012x", h.Sum64()>>16)
}

// TestSize checks that 300 names with 2,000 runs each make at most a megabyte, with a
// drawing for each. The time and the memory are reported, not judged.
func TestSize(t *testing.T) {
	dir := many(t)
	file := filepath.Join(t.TempDir(), "page.html")
	cmd := lifeline(t, dir, "report", "--out", file)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	text, err := os.ReadFile(file)
	if err != nil || len(text) > 1<<20 {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	t.Logf("written in %v (CPU %v), at most %d MB resident, %d kB of HTML", time.Since(start).Round(time.Millisecond),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond), usage.Maxrss>>10,
		len(text)>>10)
	if n := strings.Count(string(text), "<article"); n != 300 {
		t.Errorf("%d names are shown", n)
	}
	if n := strings.Count(string(text), "<figure"); n != 900 {
		t.Errorf("there are %d drawings", n)
	}
	b := open(t)
	b.show(file, 1400, "light")
	t.Logf("interactive %.0f ms after the navigation began", ask[float64](b,
		"performance.getEntriesByType('navigation')[0].domInteractive"))
	if rows := ask[int](b, "document.querySelectorAll('tbody tr').length"); rows != 300 {
		t.Errorf("%d rows", rows)
	}
	b.isQuiet(file)
	if keep := os.Getenv("LIFELINE_PAGE"); keep != "" { // for a look
		_ = os.WriteFile(keep, text, 0o644)
		_ = os.CopyFS(keep+".state", os.DirFS(dir))
	}
}
