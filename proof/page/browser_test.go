//go:build linux

package page

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp" // drives Debian's chromium over its own protocol

	"lifeline/proof/need"
)

// browser is one tab of a headless chromium, and what it has heard there.
type browser struct {
	*testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string
	said     []string
}

func open(t *testing.T) *browser {
	t.Helper()
	path := need.Program(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.DisableGPU)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{T: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		case *runtime.EventConsoleAPICalled:
			b.said = append(b.said, fmt.Sprintf("%s: %v", e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			b.said = append(b.said, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			b.said = append(b.said, e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			b.said = append(b.said, "a dialog: "+e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	command(b, network.Enable, network.EnableParams{})
	command(b, log.Enable, cdp.Empty{})
	return b
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// command sends one command of the browser's protocol.
func command[P, R any](b *browser, c cdp.Command[P, R], params P) R {
	b.Helper()
	answer, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// ask evaluates an expression in the page.
func ask[T any](b *browser, expression string) (answer T) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	answer, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// show opens a file at a width, in light or dark.
func (b *browser) show(file string, width int64, scheme string) {
	b.Helper()
	command(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900,
		DeviceScaleFactor: 1, Mobile: width < 500})
	command(b, emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme",
			Value: scheme}}})
	b.do(chromedp.Navigate("file://" + file))
}

// isQuiet checks that the page has asked for nothing but itself, and has said nothing.
func (b *browser) isQuiet(file string) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.requests {
		if url != "file://"+file && url != "data:," {
			b.Errorf("it asks for %s", url)
		}
	}
	if len(b.said) > 0 {
		b.Errorf("it says %q", b.said)
	}
}

// overlaps finds texts that cover each other, and what stands out on the right.
const overlaps = `(() => {
	const found = [], wide = document.documentElement.clientWidth, boxes = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; n = walk.nextNode();) {
		if (!n.data.trim() || n.parentElement.closest('script, style, svg, .skip') || !n.parentElement.checkVisibility({contentVisibilityAuto: true})) continue;
		const range = document.createRange();
		range.selectNodeContents(n);
		for (const r of range.getClientRects()) {
			if (r.width < 1 || r.height < 1) continue;
			if (r.right > wide + 1) found.push('beyond the edge: ' + n.data.slice(0, 60));
			// The lines of one text may touch: their middle doesn't.
			boxes.push({n, t: r.top + r.height * .3, b: r.bottom - r.height * .3, l: r.left + 1, r: r.right - 1});
		}
	}
	for (const s of document.querySelectorAll('svg')) {
		const r = s.getBoundingClientRect();
		if (r.width && !s.closest('.legend')) boxes.push({n: s, t: r.top + 1, b: r.bottom - 1, l: r.left, r: r.right});
		if (r.right > wide + 1) found.push('a picture beyond the edge');
	}
	boxes.sort((a, b) => a.t - b.t);
	for (let i = 0; i < boxes.length; i++)
		for (let j = i + 1; j < boxes.length && boxes[j].t < boxes[i].b; j++)
			if (boxes[j].n !== boxes[i].n && boxes[j].l < boxes[i].r && boxes[i].l < boxes[j].r)
				found.push((boxes[i].n.data || 'picture').slice(0, 40) + ' / ' + (boxes[j].n.data || 'picture').slice(0, 40));
	return found.slice(0, 5);
})()`

// settled shows all of the page once, so that nothing is laid out by a guess.
const settled = `(async () => { for (const a of document.querySelectorAll('.more')) a.style.contentVisibility = 'visible'; await new Promise(requestAnimationFrame); return true })()`

// readAxe gives the accessibility checker's script.
func readAxe(t *testing.T) string {
	t.Helper()
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		need.NoError(t, fmt.Errorf("missing on this machine: axe-core (npm ci in proof/page): %w", err))
	}
	return string(axe)
}

// faults returns what is wrong with how the page looks now.
func (b *browser) faults(axe string) []string {
	b.Helper()
	ask[bool](b, settled)
	list := ask[[]string](b, overlaps)
	if over := ask[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
		list = append(list, fmt.Sprintf("it scrolls sideways by %d", over))
	}
	ask[bool](b, axe+"; true")
	return append(list, ask[[]string](b,
		`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => "axe: " + v.id + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " " + n.failureSummary)))`)...)
}
