# scene.sh LIFELINE [all]: what a guard has to do at least: run a command and give
# its code, keep a second one away, write a log, let one of twenty run, terminate.
# With all also: adopt an orphan, respawn, watch heartbeats, reload, end a tree.
set -eu
L=$1 D=$(mktemp -d)
trap 'rm -rf "$D"' EXIT
die() {
	echo "$*"
	exit 1
}
until_() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 600 ] || die "never: $*"
		sleep .1
	done
}
code() { # code N COMMAND...
	want=$1 c=0
	shift
	"$@" || c=$?
	[ $c = "$want" ] || die "$* gave $c, not $want"
}
lines() { [ "$(wc -l <"$2")" = "$1" ]; }

"$L" --version
code 7 "$L" --dir "$D" one -- sh -c 'exit 7'

# A daemon, its log (the logger is this program too), a tick beside it.
(code 143 "$L" --dir "$D" --log "$D/log" web -- sh -c 'echo started; exec sleep 600'; echo >"$D/over") &
until_ grep -q started "$D/log"
code 9 "$L" --dir "$D" -E 9 web -- false
code 0 "$L" --dir "$D" status web
code 0 "$L" --dir "$D" terminate web
until_ test -e "$D/over"
lines 1 "$D/log" || die "the log: $(cat "$D/log")"

# Of twenty starts at once one runs its command, and nineteen end with 0.
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	(c=0; "$L" --dir "$D" race -- sh -c 'echo x >>"$0"; exec sleep 600' "$D/raced" || c=$?; echo $c >>"$D/codes") &
done
until_ lines 19 "$D/codes"
until_ test -s "$D/raced"
code 0 "$L" --dir "$D" terminate race
wait
lines 1 "$D/raced" || die "$(wc -l <"$D/raced") of twenty ran"
[ "$(sort "$D/codes" | uniq -c | tr -s ' ' | tr '\n' ,)" = ' 19 0, 1 143,' ] || die "the codes: $(cat "$D/codes")"
[ "${2:-}" = all ] || {
	echo passed
	exit 0
}

# A supervisor is killed: the worker lives on, and a tick adopts it.
"$L" --dir "$D" orphan -- sh -c 'echo $$ >>"$0"; exec sleep 600' "$D/orphans" &
sup=$!
until_ test -s "$D/orphans"
until_ "$L" --dir "$D" status orphan
kill -KILL $sup
wait $sup || :
"$L" --dir "$D" orphan -- false &
until_ sh -c '"$0" --dir "$1" status --json orphan | grep -q "\"supervisor\": *'$!'"' "$L" "$D"
lines 1 "$D/orphans" || die "$(wc -l <"$D/orphans") orphans"
code 0 "$L" --dir "$D" terminate orphan
until_ sh -c '! kill -0 "$(cat "$0")"' "$D/orphans"
wait

# Respawn; and the end of a whole tree, whose child ignores SIGTERM.
"$L" --dir "$D" --respawn --respawn-delay 0 --kill-after 500ms again -- \
	sh -c 'echo $$ >>"$0"; (trap "" TERM; exec sleep 601) & exec sleep 600' "$D/again" &
until_ test -s "$D/again"
kill -KILL "$(head -n 1 "$D/again")"
until_ lines 2 "$D/again"
code 0 "$L" --dir "$D" terminate again
wait
until_ sh -c '! kill -0 "$(tail -n 1 "$0")"' "$D/again"

# A worker without heartbeats is ended and started again.
"$L" --dir "$D" --respawn --respawn-delay 0 --watchdog 200ms --kill-after 200ms hangs -- \
	sh -c 'echo $$ >>"$0"; exec sleep 600' "$D/hangs" &
until_ sh -c '[ "$(wc -l <"$0")" -ge 2 ]' "$D/hangs"
code 0 "$L" --dir "$D" terminate hangs
wait

# Reload: the new generation is ready after a while, then the old one ends.
"$L" --dir "$D" --respawn --ready-after 100ms reloads -- sh -c 'echo $$ >>"$0"; exec sleep 600' "$D/reloads" &
until_ test -s "$D/reloads"
until_ "$L" --dir "$D" reload reloads
lines 2 "$D/reloads" || die "$(wc -l <"$D/reloads") generations"
code 0 "$L" --dir "$D" terminate reloads
wait
echo passed
