// Shots makes the pictures of the page that README and docs show. The page is that
// of a made-up machine at a fixed time, drawn by package report and shown in
// headless chromium. The same code gives the same pictures, so they can't drift.
//
//	cd proof/page && GOWORK=off go run ./shots ../../docs
package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"lifeline/internal/journal"
	"lifeline/internal/report"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: shots DIRECTORY")
		os.Exit(64)
	}
	if err := shoot(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "shots:", err)
		os.Exit(1)
	}
}

// now is when the page was written.
var now = time.Date(2026, 11, 30, 8, 12, 7, 0, time.UTC)

func ago(d time.Duration) time.Time    { return now.Add(-d) }
func since(d time.Duration) *time.Time { t := ago(d); return &t }

// series returns a name's runs of a week: one in each period, of about a length. bad
// decides which of them fail.
func series(seed uint64, period, length time.Duration, bad func(end time.Time) bool) []journal.Run {
	random := rand.New(rand.NewPCG(seed, seed))
	var runs []journal.Run
	for start := ago(8 * 24 * time.Hour).Truncate(period); start.Before(ago(length * 2)); start = start.Add(period) {
		took := length/2 + time.Duration(random.Float64()*float64(length))
		r := journal.Run{Start: start, End: start.Add(took), Outcome: "ok", CPU: took.Seconds() / 3}
		if bad(r.End) {
			r.Outcome, r.Code = "failed", 3
		}
		runs = append(runs, r)
	}
	return runs
}

func never(time.Time) bool { return false }

// machine returns the page of a made-up machine.
func machine() *report.Page {
	const h = time.Hour
	name := func(n report.Name, runs []journal.Run, up *time.Time) report.Name {
		n.History = report.NewHistory(runs, up, now, true)
		if len(runs) > 0 {
			n.Last = &runs[len(runs)-1]
			n.Totals = journal.Totals{Runs: len(runs), Failed: n.History.Week.Failed,
				OK: len(runs) - n.History.Week.Failed}
		}
		return n
	}
	next := func(hour, minute int) *time.Time {
		t := time.Date(2026, 11, 30, hour, minute, 0, 0, time.UTC)
		if t.Before(now) {
			t = t.AddDate(0, 0, 1)
		}
		return &t
	}
	broken := ago(5*h + 12*time.Minute)
	invoices := series(1, 15*time.Minute, 3*time.Minute, func(end time.Time) bool {
		return end.After(broken) || end.YearDay()%3 == 0 && end.Hour() == 4 && end.Minute() < 20
	})
	worker := []journal.Run{
		{Start: ago(150 * h), End: ago(60 * h), Outcome: "killed", Signal: "SIGKILL", Code: 137,
			Why: "killed by the kernel"},
		{Start: ago(60*h - 5*time.Second), End: ago(9 * h), Outcome: "hung", Code: 134, Why: "no WATCHDOG=1 for 20s"},
	}
	web := []journal.Run{{Start: ago(160 * h), End: ago(31 * h), Outcome: "stopped", Why: "replaced by a reload"}}
	p := &report.Page{
		Host: "web1", Written: now, Every: time.Minute,
		Facts: []report.Fact{{Name: "Load", Value: "0.42, 0.37, 0.35 in 1, 5 and 15 minutes"}, {Name: "Cron",
			Value: "runs: /usr/sbin/cron, pid 611"}, {Name: "User", Value: "root"}},
		Names: []report.Name{
			name(report.Name{Name: "invoices", Kind: report.KindBad, State: "not running, in crontab",
				Since: &invoices[len(invoices)-1].End, Command: "/srv/billing/bin/invoices --all",
				Schedule: "*/15 * * * *", Next: next(8, 15), Failing: &broken, LastOK: since(5*h + 26*time.Minute),
				Output: &journal.Output{End: invoices[len(invoices)-1].End,
					Text: "reading 212 orders\nconnecting to db1:5432 … refused\nTraceback: billing.db.Unreachable: " +
						"db1:5432 after 3 attempts\n"}}, invoices, nil),
			name(report.Name{Name: "web", Kind: report.KindUp, State: "ready", Since: since(31 * h),
				Command: "/srv/web/serve --port 8080", Schedule: "* * * * *", Status: "serving 12 requests, 0 waiting",
				Processes: 5, Memory: 212 << 20, CPU: 5230, Supervised: true, Reloads: 3}, web, since(31*h)),
			name(report.Name{Name: "mail-worker", Kind: report.KindUp, State: "ready",
				Since:   since(9*h - 5*time.Second),
				Command: "/srv/mail/worker", Schedule: "* * * * *", Status: "idle",
				Processes: 1, Memory: 48 << 20, CPU: 61, Supervised: true, Restarts: 2}, worker,
				since(9*h-5*time.Second)),
			name(report.Name{Name: "backup", Kind: report.KindIdle, State: "not running, in crontab",
				Command: "/usr/local/bin/backup --to s3", Schedule: "30 2 * * *", Next: next(2,
					30), LastOK: since(5 * h)},
				series(3, 24*h, 50*time.Minute, never), nil),
			name(report.Name{Name: "metrics", Kind: report.KindIdle, State: "not running, in crontab",
				Command: "/usr/local/bin/collect", Schedule: "*/5 * * * *", Next: next(8,
					15), LastOK: since(3 * time.Minute)},
				series(4, 5*time.Minute, 20*time.Second, never), nil),
			{Name: "old-import", Kind: report.KindPaused, State: "paused", Since: since(19 * 24 * h),
				Command:  "/srv/import/run",
				Schedule: "0 * * * *"},
		},
		Wrong: []report.Wrong{
			{Name: "invoices", What: "failing",
				Text:   "the last 20 failed, since 03:00:07; the latest: exit 3, 11m ago, after 2m58s",
				Advice: "see what it printed: lifeline logs invoices; lifeline history invoices has them all"},
			{Name: "old-import", What: "paused",
				Text:   "it is paused, so cron starts nothing (since 2026-11-11 08:12:07)",
				Advice: "lifeline resume old-import"},
		},
	}
	for i := range p.Names {
		if n := &p.Names[i]; n.Since == nil && n.Last != nil {
			n.Since = &n.Last.End
		}
	}
	p.Sort()
	return p
}

func shoot(dir string) error {
	work, err := os.MkdirTemp("", "lifeline-shots-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "page.html")
	if err := os.WriteFile(file, machine().HTML(), 0o600); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	// The reader looks half a minute later.
	clock := fmt.Sprintf("Date.now = () => %d", now.Add(30*time.Second).UnixMilli())
	if _, err := chromedp.Call(ctx, cdppage.AddScriptToEvaluateOnNewDocument,
		cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: clock}); err != nil {
		return err
	}
	for _, shot := range []struct {
		name, scheme  string
		width, height int64
		at            string // a part of the page
	}{{"report-light", "light", 1000, 900, ""}, {"report-dark", "dark", 1000, 900,
		""}, {"report-phone", "light", 380, 800,
		""}, {"report-name", "light", 1000, 640, "#each"}} {
		if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride,
			emulation.SetDeviceMetricsOverrideParams{Width: shot.width, Height: shot.height,
				DeviceScaleFactor: 1}); err != nil {
			return err
		}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme",
				Value: shot.scheme}}}); err != nil {
			return err
		}
		if err := chromedp.Do(ctx, chromedp.Navigate("file://"+file+shot.at)); err != nil {
			return err
		}
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if err := save(filepath.Join(dir, shot.name+".png"), png); err != nil {
			return err
		}
	}
	return nil
}

// save writes a picture in its 256 most frequent colours, which makes a third of its
// size. Only the edges of letters have other colours.
func save(path string, shot []byte) error {
	full, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return err
	}
	box, count := full.Bounds(), map[color.RGBA]int{}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			count[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	})
	var palette color.Palette
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	small := image.NewPaletted(box, palette)
	draw.Draw(small, box, full, box.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
