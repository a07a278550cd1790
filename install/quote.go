package install

import (
	"fmt"
	"strings"
)

// Quote quotes word so that it passes through cron and sh unchanged.
//
// Crons read a command in one of these ways, and Quote's text suits all of them:
//
//   - most crons (Vixie's 3.0, cronie, the BSDs) turn \% into %, end the
//     command at a bare %, and leave every other backslash alone;
//   - Debian's and Ubuntu's cron 3.0pl1 also turns two backslashes into one,
//     in quotes too (found by experiment; crontab(5) doesn't say it);
//   - busybox crond does nothing of the kind: sh gets \% and unescapes it.
//
// systemd-cron turns several blanks into one, also in quotes.
//
// So a % becomes \% outside all quotes. Between two backslashes, or two blanks, a quoted
// string is closed and opened again.
//
// A newline or a NUL byte is an error, because a crontab line can't contain it.
func Quote(word string) (string, error) {
	switch {
	case word == "":
		return "''", nil
	case strings.Contains(word, "\n"):
		return "", fmt.Errorf("cannot put %s into a crontab: it holds a newline, and a crontab line has none: put the "+
			"command into a script and give that", shorten(word))
	case strings.Contains(word, "\x00"):
		return "", fmt.Errorf("cannot put %s into a crontab: it holds a NUL byte, which no command can be given: "+
			"take it out", shorten(word))
	}
	pieces := strings.Split(word, "%")
	for i, piece := range pieces {
		pieces[i] = quotePiece(piece)
	}
	return strings.Join(pieces, `\%`), nil
}

func quotePiece(piece string) string {
	if plain(piece) {
		return piece
	}
	var out strings.Builder
	open := false
	toggle := func() { open = !open; out.WriteByte('\'') }
	for i := range len(piece) {
		c := piece[i]
		switch {
		case c == '\'':
			if open {
				toggle()
			}
			out.WriteString(`\'`)
			continue
		case (c == '\\' || c == ' ') && open && piece[i-1] == c:
			toggle()
		}
		if !open {
			toggle()
		}
		out.WriteByte(c)
	}
	if open {
		toggle()
	}
	return out.String()
}

// plain reports whether no shell sees anything special in s. A leading = is
// special in zsh.
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_./:@+,-", c) >= 0:
		case c == '=' && i > 0:
		default:
			return false
		}
	}
	return true
}

// shorten quotes at most 60 bytes of word, for errors.
func shorten(word string) string {
	if len(word) > 60 {
		return fmt.Sprintf("%q...", word[:60])
	}
	return fmt.Sprintf("%q", word)
}
