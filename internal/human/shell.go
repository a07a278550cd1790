package human

import "strings"

// ShellLine quotes words as a line to paste into a shell.
func ShellLine(words []string) string {
	var out []string
	for _, w := range words {
		if w == "" || strings.Trim(w,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@+=,%") != "" {
			w = ShellWord(w)
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// ShellWord quotes text as one word for sh.
func ShellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
