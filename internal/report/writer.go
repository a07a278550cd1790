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

// writer writes markup. The init of html/template would cost each start of lifeline
// 0.15 ms, a tenth of all inits.
type writer struct {
	bytes.Buffer
	page   *Page
	limits limits
}

// markup is HTML that needs no escaping: only constants and functions of this package
// make it.
type markup string

// f writes m with each % replaced by the next argument: markup as it is, a string
// escaped, a number or a time.
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

// time returns a time element. The page's script adds how long ago the time is.
func (w *writer) time(t time.Time, layout string) markup {
	return markup("<time datetime=" + t.UTC().Format("2006-01-02T15:04:05Z") + ">" +
		t.In(w.page.Written.Location()).Format(layout) + "</time>")
}

// maxMarks limits the combining marks of a character, because a tower of marks would
// cover the lines above.
const maxMarks = 2

// visible shortens text to max characters, and makes invisible characters visible. It
// writes control characters as their pictures. Others, such as marks that change the
// direction of writing, are written by number.
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
