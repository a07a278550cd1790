package report

import (
	"fmt"
	"strconv"
	"strings"
)

// shape is how a kind of slot is drawn: as a piece of a horizontal line. Its width and
// height differ from other shapes', so that it is known without colours. The widths are
// in style.css.
type shape struct {
	slot  Slot
	class markup
	y     int
	means string
}

var shapes = []shape{
	{Up, "u", 11, "up"},
	{Part, "p", 14, "up for a part of the time, or a short run"},
	{Failed, "f", 10, "a run failed"},
	{Stopped, "s", 15, "a run was stopped"},
	{Unknown, "k", 11, "not known"},
	{skippedSlot, "x", 2, "a tick was skipped"},
}

// skippedSlot is the shape of skipped ticks.
const skippedSlot Slot = 255

// timeline draws a day or a week. key is the id by which the table draws the timeline
// again; "" for none.
func (w *writer) timeline(name, span string, key markup, t Timeline) {
	w.f("<figure><figcaption>The last %: %</figcaption><svg class=t viewBox=\"0 0 % 20\" preserveAspectRatio=none "+
		"role=img><title>%, last %</title><desc>%</desc>",
		span, t.facts(), len(t.Slots), name, span, t.inWords())
	if key != "" {
		w.f("<g id=%>", key)
	}
	for _, s := range shapes {
		if d := path(t, s); d != "" {
			w.f("<path class=% d=\"%\"/>", s.class, d)
		}
	}
	if key != "" {
		w.f("</g>")
	}
	w.f("</svg><p class=% aria-hidden=true></figure>\n", span)
}

// path returns the slots of a shape, as pieces of a line.
func path(t Timeline, s shape) markup {
	var b strings.Builder
	is := func(i int) bool { return t.Slots[i] == s.slot }
	if s.slot == skippedSlot {
		is = func(i int) bool { return t.Skipped[i] }
	}
	at := 0
	for i := 0; i < len(t.Slots); i++ {
		if !is(i) {
			continue
		}
		end := i + 1
		for end < len(t.Slots) && is(end) {
			end++
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "M%d %dh%d", i, s.y, end-i)
		} else {
			b.WriteString("m" + strconv.Itoa(i-at) + " 0h" + strconv.Itoa(end-i))
		}
		i, at = end, end
	}
	return markup(b.String())
}

// inWords returns when a run failed last, for readers who can't see the picture.
func (t Timeline) inWords() string {
	if t.LastFailed.IsZero() {
		return "No run failed."
	}
	return "The last failed run ended at " + t.LastFailed.In(t.To.Location()).Format("2006-01-02 15:04") + "."
}

// The size of the chart of lengths.
const (
	barWidth  = 3
	barHeight = 30
)

// lengths draws how long the last runs took.
func (w *writer) lengths(name string, l Lengths) {
	if len(l.Bars) < 2 {
		return
	}
	longest := l.Bars[0].Length
	for _, b := range l.Bars {
		longest = max(longest, b.Length)
	}
	height := func(b Bar) int {
		return max(1, int(float64(b.Length)/float64(max(longest, 1))*barHeight))
	}
	w.f("<figure><figcaption>Lengths of the last %: %</figcaption><svg class=l viewBox=\"0 0 % %\" "+
		"preserveAspectRatio=none role=img><title>%, lengths</title>",
		counted(len(l.Bars), "run"), l.facts(), len(l.Bars)*barWidth, barHeight, name)
	var good, bad strings.Builder
	for i, b := range l.Bars {
		d := &good
		if b.Failed {
			d = &bad
		}
		fmt.Fprintf(d, "M%d %dv-%d", barWidth*i+1, barHeight, height(b))
	}
	for _, d := range []struct {
		class markup
		path  string
	}{{"g", good.String()}, {"b", bad.String()}} {
		if d.path != "" {
			w.f("<path class=% d=\"%\"/>", d.class, markup(d.path))
		}
	}
	if l.Median <= longest {
		w.f("<path class=m d=\"M0 %h%\"/>", barHeight-height(Bar{Length: l.Median}), len(l.Bars)*barWidth)
	}
	w.f("</svg></figure>\n")
}
