package human

import "strings"

// Nearest returns the word of list that may have been meant by word, "" if none is
// near. A near word differs by one slip, by two from 4 letters on, by three from 8
// letters on. A beginning that only one word of list has is near, too.
func Nearest(word string, list []string) string {
	best, least := "", min(1+len(word)/4, 3)+1
	var begins []string
	for _, w := range list {
		if len(w) < 2 {
			continue
		}
		if d := slips(word, w); d < least && d < len(w) {
			best, least = w, d
		}
		if len(word) >= 3 && strings.HasPrefix(w, word) {
			begins = append(begins, w)
		}
	}
	if len(begins) == 1 && least > 1 {
		return begins[0]
	}
	return best
}

// slips counts the letters left out, put in, changed, and swapped with their
// neighbour between a and b (the optimal string alignment distance).
func slips(a, b string) int {
	prev, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev[j-2]+1)
			}
		}
		prev, last = last, row
	}
	return last[len(b)]
}
