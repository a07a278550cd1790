package install

import (
	"slices"
	"strings"
)

// A script is a crontab line as sh reads it: simple commands, and the operator that
// ends each ("" at the end of the text). Redirections are left out, with their targets.
type script struct {
	commands [][]word
	ends     []string
	unclosed string // the closing quote or bracket that is missing
}

type word struct {
	text  string // the word that the command gets
	raw   string // the word as written
	shell string // the first character that needs a shell; "" if none
}

// SameCommand reports whether a shell reads the same words in both texts.
func SameCommand(a, b string) bool {
	x, y := lex(a), lex(b)
	same := func(v, w word) bool { return v.text == w.text && v.shell == w.shell }
	return slices.Equal(x.ends, y.ends) && slices.EqualFunc(x.commands, y.commands,
		func(v, w []word) bool { return slices.EqualFunc(v, w, same) })
}

// lex splits text as a POSIX shell does (XCU 2.3, Token Recognition). Words with an
// expansion stay as written, and are marked in word.shell.
func lex(text string) script {
	l := lexer{in: text}
	for l.at < len(l.in) {
		c := l.in[l.at]
		switch {
		case c == ' ' || c == '\t':
			l.endWord()
			l.at++
		case c == '\n' || strings.IndexByte(";&|()", c) >= 0:
			l.endWord()
			l.endCommand(l.operator())
		case c == '<' || c == '>':
			l.redirect()
		case c == '#' && !l.inWord:
			end := strings.IndexByte(l.in[l.at:], '\n')
			if end < 0 {
				end = len(l.in) - l.at
			}
			l.at += end
		default:
			l.wordByte(c)
		}
	}
	l.endWord()
	l.endCommand("")
	return l.out
}

type lexer struct {
	in string
	at int

	inWord bool
	start  int             // of the word in in
	text   strings.Builder // of the word
	shell  string          // of the word
	quoted bool            // the word holds a quote or a backslash
	brace  bool            // an unquoted { stands in the word
	target bool            // the word is the target of a redirection

	words []word
	out   script
}

func (l *lexer) endWord() {
	if !l.inWord {
		return
	}
	raw := l.in[l.start:l.at]
	w := word{text: l.text.String(), raw: raw, shell: l.shell}
	if w.shell == "" && l.brace && braces(raw) {
		w.shell = "{"
	}
	if w.shell != "" {
		w.text = raw
	}
	if !l.target {
		l.words = append(l.words, w)
	}
	l.text.Reset()
	l.inWord, l.shell, l.quoted, l.brace, l.target = false, "", false, false, false
}

func (l *lexer) endCommand(operator string) {
	if len(l.words) > 0 {
		l.out.commands = append(l.out.commands, l.words)
		l.out.ends = append(l.out.ends, operator)
	}
	l.words, l.target = nil, false
}

func (l *lexer) operator() string {
	n := 1
	if l.at+1 < len(l.in) && l.in[l.at+1] == l.in[l.at] && strings.IndexByte(";&|", l.in[l.at]) >= 0 {
		n = 2
	}
	l.at += n
	return l.in[l.at-n : l.at]
}

// redirect reads an operator such as 2>&1 up to its target, which is the next word.
func (l *lexer) redirect() {
	if l.inWord && !l.quoted && strings.Trim(l.in[l.start:l.at], "0123456789") == "" {
		// The digits are the descriptor, not a word.
		l.text.Reset()
		l.inWord = false
	}
	l.endWord()
	l.at++
	for l.at < len(l.in) && strings.IndexByte("<>&|", l.in[l.at]) >= 0 {
		l.at++
	}
	l.target = true
}

func (l *lexer) wordByte(c byte) {
	if !l.inWord {
		l.inWord, l.start = true, l.at
	}
	first := l.at == l.start
	l.at++
	switch c {
	case '\'':
		l.quoted = true
		end := strings.IndexByte(l.in[l.at:], '\'')
		if end < 0 {
			l.out.unclosed = "'"
			end = len(l.in) - l.at
		}
		l.text.WriteString(l.in[l.at : l.at+end])
		l.at = min(l.at+end+1, len(l.in))
	case '"':
		l.quoted = true
		l.doubleQuoted()
	case '\\':
		l.quoted = true
		// A backslash at the very end stands for itself.
		if l.at < len(l.in) {
			c = l.in[l.at]
			l.at++
		}
		l.text.WriteByte(c)
	case '$', '`':
		l.expansion(c, false)
	case '*', '?':
		l.special(string(c))
	case '[':
		// The command [ is no pattern.
		if rest := l.in[l.at:]; strings.Contains(rest[:wordEnd(rest)], "]") {
			l.special("[")
		}
		l.text.WriteByte(c)
	case '~':
		if first {
			l.special("~")
		}
		l.text.WriteByte(c)
	case '{':
		l.brace = true
		l.text.WriteByte(c)
	default:
		l.text.WriteByte(c)
	}
}

func (l *lexer) doubleQuoted() {
	for l.at < len(l.in) {
		c := l.in[l.at]
		l.at++
		switch c {
		case '"':
			return
		case '$', '`':
			l.expansion(c, true)
		case '\\':
			if l.at < len(l.in) && strings.IndexByte("$`\"\\\n", l.in[l.at]) >= 0 {
				c = l.in[l.at]
				l.at++
			}
			l.text.WriteByte(c)
		default:
			l.text.WriteByte(c)
		}
	}
	l.out.unclosed = `"`
}

// expansion reads what follows a $ or a backtick. A $ that begins no expansion stands
// for itself.
func (l *lexer) expansion(c byte, inQuotes bool) {
	rest := l.in[l.at:]
	switch {
	case c == '`':
		l.special("`")
		l.skip("`")
	case rest == "":
	case rest[0] == '(':
		l.special("$")
		l.skip(")")
	case rest[0] == '{':
		l.special("$")
		l.skip("}")
	case nameByte(rest[0]), strings.IndexByte("@*#?$!-", rest[0]) >= 0:
		l.special("$")
	case !inQuotes && (rest[0] == '\'' || rest[0] == '"'):
		// bash has its own meaning for $'...' and $"...".
		l.special("$")
	}
	l.text.WriteByte(c)
}

// skip moves behind the end of a substitution, so that its blanks don't split the word.
// It ignores quotes, because the shell expands the word anyway.
func (l *lexer) skip(closing string) {
	depth := 0
	for l.at < len(l.in) {
		c := l.in[l.at]
		l.at++
		switch {
		case c == '\\' && l.at < len(l.in):
			l.at++
		case c == closing[0] && depth <= 1:
			return
		case c == closing[0]:
			depth--
		case c == '(' && closing == ")", c == '{' && closing == "}":
			depth++
		}
	}
	l.out.unclosed = closing
}

func (l *lexer) special(what string) {
	if l.shell == "" {
		l.shell = what
	}
}

func wordEnd(s string) int {
	if i := strings.IndexAny(s, " \t\n;&|()<>"); i >= 0 {
		return i
	}
	return len(s)
}

// braces reports whether raw has a {a,b} or {1..3}, which bash expands (also as sh), and
// dash doesn't.
func braces(raw string) bool {
	_, rest, _ := strings.Cut(raw, "{")
	close := strings.LastIndexByte(rest, '}')
	return close >= 0 && (strings.Contains(rest[:close], ",") || strings.Contains(rest[:close], ".."))
}
