package report

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeline/internal/human"
)

//go:embed style.css
var style string

//go:embed script.js
var script string

// The SHA-256 of the inline style and script, for the Content-Security-Policy
// (https://www.w3.org/TR/CSP3/#grammardef-hash-source). They are constants that a test
// checks, because crypto/sha256 would add 15 package inits to every start.
const (
	styleHash  = "'sha256-8BdDTv5O8vlv8ROXFQTwp1VGb0DkIyJYGIVMLdModlk='"
	scriptHash = "'sha256-QElvcRGNn7gQLfWnuDVG8NOj/euMQzFWrLHzRpoKnuo='"
)

// all writes the whole page.
func (w *writer) all() {
	p := w.page
	title := "lifeline on " + p.Host
	if p.Host == "" {
		title = "lifeline: a fleet"
	}
	if p.Nodes != nil {
		title = "lifeline: a cluster"
	}
	verdict, bad := p.verdict()
	w.f(`<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src %; script-src %; img-src data:; base-uri 'none'; form-action 'none'">
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=color-scheme content="light dark">
<meta name=referrer content=no-referrer>
<meta name=robots content=noindex>
<link rel=icon href=data:,>
<title>% – %</title>
<style>%</style>
`, markup(styleHash), markup(scriptHash), verdict, title, markup(style))
	w.f("<body data-every=%>\n<a class=skip href=#names>To the list of names</a>\n<header>\n<h1>%</h1>\n",
		int(p.Every.Seconds()), title)
	kind := markup("ok")
	if bad {
		kind = "bad"
	}
	w.f("<p class=\"verdict %\">%</p>\n", kind, verdict)
	zone := p.Written.Format("MST (UTC-07:00)")
	if strings.HasPrefix(zone, "UTC ") {
		zone = "UTC"
	}
	w.f("<p class=written id=written>Written %. <span class=zone>All times are in %.</span></p>\n<p class=old id=old "+
		"role=status></p>\n", w.time(p.Written, time.DateTime), zone)
	if len(p.Facts) > 0 {
		w.f("<dl class=facts>")
		for _, f := range p.Facts {
			w.f("<div><dt>%</dt><dd>%</dd></div>", f.Name, f.Value)
		}
		w.f("</dl>\n")
	}
	w.f("</header>\n<main>\n")
	names := p.Names
	if n := w.limits.names; n > 0 && len(names) > n {
		names = names[:n]
	}
	w.wrongs(names)
	w.nodes()
	w.table(names)
	if w.limits.details {
		w.details(names)
	}
	w.f("</main>\n<footer><p>Made by <code>lifeline report</code>.</p></footer>\n<script>%</script>\n", markup(script))
}

// class returns the colour of a kind.
func (k Kind) class() markup { return [...]markup{"bad", "warn", "warn", "ok", "idle"}[k] }

// id returns the anchor of the details of the name at an index.
func id(i int) markup { return markup("n" + strconv.Itoa(i)) }

// wrongs writes what is wrong, each with its advice.
func (w *writer) wrongs(names []Name) {
	p := w.page
	if len(p.Wrong) == 0 {
		w.f("<section aria-labelledby=wrong><h2 id=wrong>Nothing is wrong</h2>")
		w.lastDay(names)
		w.f("</section>\n")
		return
	}
	at := map[subject]markup{}
	for i, n := range names {
		at[subject{n.Machine, n.Name}] = id(i)
	}
	list := p.Wrong
	if n := w.limits.names; n > 0 && len(list) > n {
		list = list[:n]
	}
	w.f("<section aria-labelledby=wrong><h2 id=wrong>What is wrong</h2>\n")
	// A cron that doesn't run stands above the names that failed: they may be many.
	own := slices.IndexFunc(list, func(f Wrong) bool { return f.Name != "" })
	if own < 0 {
		own = len(list)
	}
	w.wrongList(list[:own], at)
	w.lastDay(names)
	w.wrongList(list[own:], at)
	if more := len(p.Wrong) - len(list); more > 0 {
		w.f("<p>% more are left out here, so that the page stays small: <code>lifeline "+
			"doctor</code> has them all.</p>\n",
			more)
	}
	w.f("</section>\n")
}

// subject is what a Wrong is about.
type subject struct{ machine, name string }

// wrongList writes a list of what is wrong, with an item for each subject; at has the
// anchors of the names' details.
func (w *writer) wrongList(list []Wrong, at map[subject]markup) {
	if len(list) == 0 {
		return
	}
	w.f("<ul class=wrong role=list>\n") // role=list, because some screen readers ignore a list without bullets
	for i, f := range list {
		about := subject{f.Machine, f.Name}
		if i == 0 || about != (subject{list[i-1].Machine, list[i-1].Name}) {
			w.f("<li>")
			w.about(f, at[about])
		} else {
			w.f("<p>")
		}
		w.f("<strong class=bad>%</strong>: %", f.What, f.Text)
		if f.Advice != "" {
			text := w.limits.text
			w.limits.text = max(text, adviceLength)
			w.f("<p class=do>To do: %</p>", f.Advice)
			w.limits.text = text
		}
		w.f("\n")
	}
	w.f("</ul>\n")
}

// adviceLength is the least limit for advice, because half of it is useless.
const adviceLength = 250

// about writes the machine and name of a Wrong; at is the anchor of the name's details.
func (w *writer) about(f Wrong, at markup) {
	if f.Machine != "" {
		w.f("<b>%</b>: ", f.Machine)
	}
	switch {
	case f.Name == "":
	case at != "" && w.limits.details:
		w.f("<a href=#%>%</a> ", at, f.Name)
	default:
		w.f("<b>%</b> ", f.Name)
	}
}

// lastDay writes how many runs ended in the last 24 hours, and how.
func (w *writer) lastDay(names []Name) {
	runs, ok, failed, stopped, unknown := 0, 0, 0, 0, 0
	known := false
	for _, n := range w.page.Names {
		if n.History != nil {
			d := n.History.Day
			known = true
			runs, ok, failed = runs+d.Runs, ok+d.OK, failed+d.Failed
			stopped, unknown = stopped+d.Stopped, unknown+d.Unknown
		}
	}
	if !known {
		return
	}
	parts := []string{fmt.Sprintf("%d ok", ok), fmt.Sprintf("%d failed", failed)}
	if stopped > 0 {
		parts = append(parts, fmt.Sprintf("%d stopped", stopped))
	}
	if unknown > 0 {
		parts = append(parts, fmt.Sprintf("%d with an unknown end", unknown))
	}
	w.f("<p>In the last 24 hours, % ended: %.", counted(runs, "run"), strings.Join(parts, ", "))
	if failed > 0 {
		w.lastDayFailed(names)
	}
	w.f("</p>\n")
}

// lastDayFailed writes the names with failures in the last 24 hours, even if they are
// well again, the most failures first.
func (w *writer) lastDayFailed(names []Name) {
	const most = 20
	var bad []int
	for i, n := range names {
		if n.History != nil && n.History.Day.Failed > 0 {
			bad = append(bad, i)
		}
	}
	slices.SortStableFunc(bad, func(a, b int) int { return names[b].History.Day.Failed - names[a].History.Day.Failed })
	w.f(" Failed:")
	for k, i := range bad[:min(len(bad), most)] {
		if k > 0 {
			w.f(",")
		}
		w.f(" ")
		w.about(Wrong{Name: names[i].Name}, id(i))
		w.f("(%)", names[i].History.Day.Failed)
	}
	if more := len(bad) - most; more > 0 {
		w.f(", and % more", counted(more, "name"))
	}
	w.f(".")
}

// table writes the table of names.
func (w *writer) table(names []Name) {
	p := w.page
	w.f("<section aria-labelledby=names><h2 id=names tabindex=-1>All names: %</h2>\n", len(p.Names))
	if len(names) < len(p.Names) {
		w.f("<p>% are left out, so that the page stays small.</p>\n", len(p.Names)-len(names))
	}
	if len(names) == 0 {
		w.f("<p>Nothing is known here: <code>lifeline install NAME -- COMMAND</code> puts something into the " +
			"crontab.</p></section>\n")
		return
	}
	fleet := slices.ContainsFunc(names, func(n Name) bool { return n.Machine != "" })
	charts := slices.ContainsFunc(names, func(n Name) bool { return n.History != nil })
	w.f("<form id=tools hidden><label>Show names with <input type=search id=filter autocomplete=off></label> " +
		"<label><input type=checkbox id=only> only what is wrong</label> <span id=count role=status></span></form>\n")
	if charts {
		w.legend()
	}
	w.f("<table class=names aria-labelledby=names><thead><tr>")
	if fleet {
		if w.page.Nodes != nil {
			w.f("<th scope=col>Node")
		} else {
			w.f("<th scope=col>Machine")
		}
	}
	for _, head := range []string{"Name", "State", "Since", "Last run", "Next start", "Memory"} {
		w.f("<th scope=col>%", head)
	}
	if charts {
		w.f("<th scope=col class=chart>Last day")
	}
	w.f("<tbody>\n")
	for i := range names {
		w.row(i, &names[i], fleet, charts)
	}
	w.f("</table></section>\n")
}

func (w *writer) row(i int, n *Name, fleet, charts bool) {
	w.f("<tr class=%", n.Kind.class())
	if n.wrong {
		w.f(" data-w")
	}
	w.f(">")
	if fleet {
		w.f("<td class=machine>%", n.Machine)
	}
	w.f("<th scope=row>")
	if w.limits.details {
		w.f("<a href=#%>%</a>", id(i), n.Name)
	} else {
		w.f("%", n.Name)
	}
	w.f("<td class=state data-v=%>%", int(n.Kind), n.State)
	if len(n.trouble) > 0 {
		w.f("; %", strings.Join(n.trouble, ", "))
	}
	w.f("<td class=since>")
	if n.Since != nil {
		w.f("%", *n.Since)
	}
	w.f("<td class=last>")
	if n.Last != nil {
		w.f("%, %", human.End(*n.Last), n.Last.End)
	}
	w.f("<td class=next>")
	if n.Next != nil {
		w.f("%", *n.Next)
	}
	w.f("<td class=memory data-v=%>", int(n.Memory))
	if n.Processes > 0 {
		w.f("%", human.Size(n.Memory))
	}
	if charts {
		w.f("<td class=chart>")
		switch {
		case n.History == nil:
		case w.limits.details && w.limits.day > 0:
			w.f("<svg class=t viewBox=\"0 0 % 20\" preserveAspectRatio=none role=img "+
				"aria-label=\"%\"><use href=#t% /></svg>",
				slots(n.History.Day, w.limits.day), n.History.Day.short(), i)
		default:
			w.f("%", n.History.Day.short())
		}
	}
	w.f("\n")
}

// legend writes the meaning of the shapes.
func (w *writer) legend() {
	w.f("<p class=legend aria-hidden=true>")
	for _, s := range shapes {
		w.f("<span><svg class=t viewBox=\"0 0 8 20\" aria-hidden=true><path class=% d=\"M0 %h8\"/></svg> %</span> ",
			s.class,
			s.y, s.means)
	}
	w.f("</p>\n")
}

// details writes a part for each name.
func (w *writer) details(names []Name) {
	w.f("<section aria-labelledby=each><h2 id=each>Each name</h2>\n")
	for i := range names {
		w.article(i, &names[i])
	}
	w.f("</section>\n")
}

func (w *writer) article(i int, n *Name) {
	w.f("<article id=% class=%><h3>", id(i), n.Kind.class())
	if n.Machine != "" {
		w.f("%: ", n.Machine)
	}
	w.f("%</h3>\n<div class=more><p class=state>%", n.Name, n.State)
	if n.Since != nil {
		w.f(" since %", *n.Since)
	}
	if n.Failing != nil {
		w.f("; <strong class=bad>failing since %</strong>", *n.Failing)
	}
	w.f("</p>\n")
	if n.Problem != "" {
		w.f("<p class=bad>%</p>\n", n.Problem)
	}
	if n.Status != "" {
		w.f("<p class=status>It says: %</p>\n", n.Status)
	}
	w.f("<dl>")
	fact := func(name, value string) {
		if value != "" {
			w.f("<div><dt>%<dd>%</div>", name, value)
		}
	}
	if n.Command != "" {
		w.f("<div class=wide><dt>Command<dd><code>%</code></div>", n.Command)
	}
	if n.Schedule != "" {
		w.f("<div><dt>Schedule<dd><code>%</code>", n.Schedule)
		if n.Next != nil {
			w.f(", next %", *n.Next)
		}
		w.f("</div>")
	}
	if r := n.Last; r != nil {
		w.f("<div><dt>Last run<dd>%, %, after %", human.End(*r), r.End, human.Length(r.Length()))
		if r.Why != "" {
			w.f(": %", r.Why)
		}
		w.f("</div>")
	}
	if n.LastOK != nil {
		w.f("<div><dt>Last success<dd>%</div>", *n.LastOK)
	}
	if n.Processes > 0 {
		fact("Uses", human.Size(n.Memory)+" of memory and "+
			human.Length(time.Duration(n.CPU*float64(time.Second)))+" of CPU, in "+counted(n.Processes, "process"))
	}
	if n.Supervised {
		fact("Restarts", fmt.Sprintf("%d, and %s", n.Restarts, counted(n.Reloads, "reload")))
	}
	if t := n.Totals; t.Runs > 0 {
		fact("All runs", fmt.Sprintf("%d: %d ok, %d stopped, %d failed; %s skipped", t.Runs, t.OK, t.Stopped, t.Failed,
			counted(t.Skipped, "tick")))
	}
	fact("Node", n.Node)
	w.f("</dl>\n")
	if h := n.History; h != nil {
		if w.limits.day > 0 {
			w.timeline(n.Name, "day", "t"+markup(strconv.Itoa(i)), h.Day.Coarser(w.limits.day))
			w.timeline(n.Name, "week", "", h.Week.Coarser(w.limits.week))
			w.lengths(n.Name, h.Lengths.last(w.limits.bars))
		} else {
			w.f("<p>Last day: %. Last week: %.</p>\n", h.Day.facts(), h.Week.facts())
		}
	}
	w.output(n)
	w.f("</div></article>\n")
}

// output writes the end of a failed run's output.
func (w *writer) output(n *Name) {
	o := n.Output
	if o == nil || w.page.NoOutput || w.limits.lines == 0 {
		return
	}
	if strings.TrimSpace(o.Text) == "" {
		w.f("<p>The run that failed at % printed nothing.</p>\n", o.End)
		return
	}
	lines := strings.Split(strings.TrimRight(o.Text, "\n"), "\n")
	if cut := len(lines) - w.limits.lines; cut > 0 {
		lines = lines[cut:]
	}
	w.f("<h4>The end of what the run printed that failed at %</h4>\n<pre>", o.End)
	text := w.limits.text
	w.limits.text = w.limits.width
	for i, line := range lines {
		if i > 0 {
			w.f("\n")
		}
		w.f("%", strings.TrimSuffix(line, "\r"))
	}
	w.limits.text = text
	w.f("</pre>\n")
}
