package install

import (
	"fmt"
	"strings"
)

// comment puts a # before each line.
func comment(lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		out.WriteString("#" + line)
	}
	return out.String()
}

// off reports whether all entries of a block are commented out.
func off(block string) bool {
	commented := false
	for line := range strings.Lines(block) {
		text := strings.TrimLeft(line, " \t")
		if _, _, _, isMarker := marker(text); isMarker || strings.TrimSpace(text) == "" {
			continue
		}
		if text[0] != '#' {
			return false
		}
		commented = true
	}
	return commented
}

// Disable comments out the n lines of crontab that start name.
func Disable(crontab, name string, kind Kind) (rest string, n int) {
	numbers := map[int]bool{}
	for _, l := range Entries(crontab, kind) {
		numbers[l.Number] = l.Name == name
	}
	return eachLine(crontab, func(number int, line string) string {
		if !numbers[number] {
			return line
		}
		n++
		return "#" + line
	}), n
}

// Enable removes the # from the lines of name's block. Without a block it removes the
// # from name's only commented line, and refuses to choose among several.
func Enable(crontab, name string, kind Kind) (rest string, n int, err error) {
	block, others := map[int]bool{}, map[int]bool{}
	for _, l := range Disabled(crontab, kind) {
		if l.Name == name && l.Block {
			block[l.Number] = true
		} else if l.Name == name {
			others[l.Number] = true
		}
	}
	if len(block) == 0 {
		block = others
	}
	if len(block) > 1 && len(others) == len(block) {
		return crontab, 0, fmt.Errorf("cannot tell which of %d commented lines of %q is meant: take the # off by "+
			"hand, crontab -e", len(others), name)
	}
	return eachLine(crontab, func(number int, line string) string {
		if !block[number] {
			return line
		}
		n++
		return strings.TrimLeft(line, "# \t")
	}), n, nil
}

func eachLine(text string, change func(number int, line string) string) string {
	var out strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		out.WriteString(change(number, line))
	}
	return out.String()
}
