package install

import (
	"fmt"
	"strings"
)

const diffContext = 3

// Diff returns the change from old to new in the unified format of diff -u, or "" if
// there is none. title names the text in the two header lines.
func Diff(old, new, title string) string {
	if old == new {
		return ""
	}
	edits := compare(splitLines(old), splitLines(new))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", title, title)
	for start := 0; start < len(edits); {
		if edits[start].op == ' ' {
			start++
			continue
		}
		// A hunk goes on until more than two contexts of equal lines follow.
		end, equal := start+1, 0
		for i := end; i < len(edits) && equal <= 2*diffContext; i++ {
			equal++
			if edits[i].op != ' ' {
				end, equal = i+1, 0
			}
		}
		writeHunk(&out, edits, max(start-diffContext, 0), min(end+diffContext, len(edits)))
		start = end
	}
	return out.String()
}

type edit struct {
	op   byte // ' ', '-' or '+'
	line string
}

func writeHunk(out *strings.Builder, edits []edit, from, to int) {
	oldBefore, newBefore := count(edits[:from])
	oldLines, newLines := count(edits[from:to])
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(oldBefore, oldLines), span(newBefore, newLines))
	for _, e := range edits[from:to] {
		out.WriteByte(e.op)
		out.WriteString(e.line)
		if !strings.HasSuffix(e.line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// span returns a hunk's range; an empty range is counted from the line before it.
func span(before, lines int) string {
	if lines == 0 {
		return fmt.Sprintf("%d,0", before)
	}
	return fmt.Sprintf("%d,%d", before+1, lines)
}

func count(edits []edit) (old, new int) {
	for _, e := range edits {
		if e.op != '+' {
			old++
		}
		if e.op != '-' {
			new++
		}
	}
	return old, new
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// largestTable bounds the memory of compare; a larger change is shown as one piece.
const largestTable = 1 << 22

// compare finds the longest common subsequence of lines between the equal
// beginnings and ends.
func compare(old, new []string) []edit {
	var edits, tail []edit
	for len(old) > 0 && len(new) > 0 && old[0] == new[0] {
		edits = append(edits, edit{' ', old[0]})
		old, new = old[1:], new[1:]
	}
	for len(old) > 0 && len(new) > 0 && old[len(old)-1] == new[len(new)-1] {
		tail = append(tail, edit{' ', old[len(old)-1]})
		old, new = old[:len(old)-1], new[:len(new)-1]
	}
	width := len(new) + 1
	var common []int // common[i*width+j]: the length of it for old[i:], new[j:]
	if len(old) < largestTable/width {
		common = make([]int, (len(old)+1)*width)
		for i := len(old) - 1; i >= 0; i-- {
			for j := len(new) - 1; j >= 0; j-- {
				if old[i] == new[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	for i, j := 0, 0; i < len(old) || j < len(new); {
		switch {
		case common != nil && i < len(old) && j < len(new) && old[i] == new[j]:
			edits = append(edits, edit{' ', old[i]})
			i, j = i+1, j+1
		case i < len(old) && (common == nil || j == len(new) || common[(i+1)*width+j] >= common[i*width+j+1]):
			edits = append(edits, edit{'-', old[i]})
			i++
		default:
			edits = append(edits, edit{'+', new[j]})
			j++
		}
	}
	for i := len(tail) - 1; i >= 0; i-- {
		edits = append(edits, tail[i])
	}
	return edits
}
