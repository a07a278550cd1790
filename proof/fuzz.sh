#!/bin/sh
# fuzz.sh TIME: run every fuzz target for TIME. What they find is kept as a
# file under testdata/fuzz, and every later `go test` tries it again.
time=${1:-3s}
tags=urfave_cli_no_docs,osusergo,netgo
failed=0
for dir in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	for target in $(grep -h '^func Fuzz' "$dir"/*_test.go | sed 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do
		if ! out=$(go test -tags $tags -run '^$' -fuzz "^$target\$" -fuzztime "$time" -timeout 10m "$dir" 2>&1); then
			# Go's own trouble with the end of the time is none
			# of ours: a finding is written down.
			if echo "$out" | grep -q 'context deadline exceeded' && ! echo "$out" | grep -q 'Failing input written'; then
				echo "$dir $target: stopped at the end of its time"
				continue
			fi
			failed=1
			echo "$dir $target:"
			echo "$out" | tail -40
		else
			echo "$dir $target: $(echo "$out" | sed -n 's/.*execs: \([0-9]*\).*/\1/p' | tail -1) inputs"
		fi
	done
done
exit $failed
