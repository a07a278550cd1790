#!/bin/sh
# cover.sh: line coverage of the packages that the product stands on, by their
# own tests and by all the real processes that those start. A process
# that is killed by SIGKILL can't tell what it has run, so the figures are rather
# too low. Whether tests pass is for make test to say.
set -e
tags=urfave_cli_no_docs,osusergo,netgo,proof
of=$(go list ./internal/guard ./internal/process ./internal/cluster ./internal/sdnotify ./internal/supervisor ./procscan ./install)
least=${LEAST:-85}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
data=${DATA:-$dir/data}
mkdir -p "$data"
pkgs=$(echo $of | tr ' ' ,)
export LIFELINE_TEST_BIN=$dir/bin # for the scripts of tasks/scripts
# Only a main package that is measured itself writes it down at the end.
go build -tags $tags -cover -covermode=atomic -coverpkg=./... -o "$dir/bin/lifeline" .
# GOCOVERDIR is for the processes that are started, -test.gocoverdir for the
# tests themselves; `go test` would put a directory of its own into the first.
for test in ${TESTS:-./internal/guard ./internal/process ./internal/cluster ./internal/sdnotify ./internal/supervisor ./procscan ./install ./tasks ./tasks/scripts ./proof/crash ./proof/supervise ./proof/reload ./proof/rounds ./proof/chaos}; do
	go test -c -tags $tags -cover -covermode=atomic -coverpkg=$pkgs -o "$dir/test" "$test"
	(cd "$test" && GOCOVERDIR=$data LIFELINE_CRASHES=1 LIFELINE_ROUNDS=10 LIFELINE_SEEDS=6 "$dir/test" -test.timeout 10m -test.gocoverdir="$data" $ARGS) >"$dir/out" 2>&1 ||
		# A few tests look at what a program prints, and one that counts says so.
		grep -- '^ *--- FAIL' "$dir/out" || cat "$dir/out"
done
go tool covdata percent -i "$data" -pkg=$pkgs | sort >"$dir/percent"
cat "$dir/percent"
go tool covdata textfmt -i "$data" -pkg=$pkgs -o "${PROFILE:-$dir/profile}"
awk -v least=$least '{ sub("%", "", $3); if ($3 + 0 < least) { print $1 " is below " least " %"; bad = 1 } } END { exit bad }' "$dir/percent"
