//go:build linux

package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Median returns the median of the gaps' lengths, 0 for none.
func (r *Report) Median() time.Duration { return Quantile(r.lengths(), 0.5) }

// P99 returns the 99th percentile of the gaps' lengths.
func (r *Report) P99() time.Duration { return Quantile(r.lengths(), 0.99) }

// Longest returns the longest gap.
func (r *Report) Longest() Gap {
	if len(r.Gaps) == 0 {
		return Gap{}
	}
	return slices.MaxFunc(r.Gaps, func(a, b Gap) int { return cmp.Compare(a.Length(), b.Length()) })
}

// LongestCalm returns the gap that lasted longest after the last fault.
func (r *Report) LongestCalm() Gap {
	if len(r.Gaps) == 0 {
		return Gap{}
	}
	return slices.MaxFunc(r.Gaps, func(a, b Gap) int { return cmp.Compare(a.Calm, b.Calm) })
}

// Late counts the gaps that lasted longer than limit after the last fault.
func (r *Report) Late(limit time.Duration) int {
	n := 0
	for _, g := range r.Gaps {
		if g.Calm > limit {
			n++
		}
	}
	return n
}

// MostTicks returns the largest number of ticks in a gap after the last fault.
func (r *Report) MostTicks() int {
	n := 0
	for _, g := range r.Gaps {
		n = max(n, g.Ticks)
	}
	return n
}

func (r *Report) lengths() []time.Duration {
	list := make([]time.Duration, len(r.Gaps))
	for i, g := range r.Gaps {
		list[i] = g.Length()
	}
	return list
}

// Quantile returns the value that the share q of the list doesn't exceed.
func Quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (r *Report) String() string {
	return fmt.Sprintf("%d starts, %d faults, %d overlaps; gaps: %d, median %s, p99 %s, longest %s, longest after "+
		"the last fault %s",
		len(r.Lives), r.Faults, r.Overlaps, len(r.Gaps), ms(r.Median()), ms(r.P99()), ms(r.Longest().Length()),
		ms(r.LongestCalm().Calm))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", d.Seconds()*1000) }
