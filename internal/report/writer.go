package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"text/template" // its HTMLEscape has no init, which package html has
	"time"
	"unicode"
	"unicode/utf8"
)

// writer writes markup. html/template isn't used, because its init alone would
// cost each start of lifeline 0.15 ms, a tenth of what all inits take.
type writer struct {
	bytes.Buffer
	page   *Page
	limits limits
}

// markup is HTML. Only constants of this package are it, and what its functions
// make.
type markup string

// f writes m with each % replaced by the next argument: a markup as it is, a
// number, and any other text escaped.
func (w *writer) f(m markup, args ...any) {
	rest := string(m)
	for _, arg := range args {
		before, after, _ := strings.Cut(rest, "%")
		w.WriteString(before)
		rest = after
		switch v := arg.(type) {
		case markup:
			w.WriteString(string(v))
		case string:
			template.HTMLEscape(w, []byte(visible(v, w.limits.text)))
		case int:
			w.WriteString(strconv.Itoa(v))
		case time.Time:
			w.WriteString(string(w.time(v, "2006-01-02 15:04")))
		default:
			panic(fmt.Sprintf("report: a %T can't be written", arg))
		}
	}
	w.WriteString(rest)
}

// time is a time element. The page's script adds how long ago that is.
func (w *writer) time(t time.Time, layout string) markup {
	return markup("<time datetime=" + t.UTC().Format("2006-01-02T15:04:05Z") + ">" +
		t.In(w.page.Written.Location()).Format(layout) + "</time>")
}

// maxMarks is how many combining marks one character may have: a tower of them
// would cover the lines above.
const maxMarks = 2

// visible shortens text to max characters, and writes what can't be seen as
// something that can: control characters as their pictures, marks that turn the
// direction of writing, and other invisible ones, by number.
func visible(text string, max int) string {
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = text[i] >= ' ' && text[i] <= '~'
	}
	if plain && len(text) <= max {
		return text
	}
	var b strings.Builder
	n, marks := 0, 0
	for i, r := range text {
		if n++; n > max {
			fmt.Fprintf(&b, "… (%d bytes more)", len(text)-i)
			break
		}
		marks++
		if !unicode.Is(unicode.M, r) {
			marks = 0
		}
		switch {
		case r == utf8.RuneError:
			b.WriteRune('�')
		case r < ' ':
			b.WriteRune(0x2400 + r) // Unicode's control pictures
		case r == 0x7f:
			b.WriteRune('␡')
		case !strconv.IsPrint(r) || marks > maxMarks:
			fmt.Fprintf(&b, "‹U+%04X›", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
