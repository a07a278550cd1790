# fresh.sh: on a machine that has a cron and nothing of lifeline: INSTALL installs
# it, cron keeps a daemon up, REMOVE removes it, and nothing is left.
set -eu
die() {
	echo "$*"
	exit 1
}
until_() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 1500 ] || die "never: $*"
		sleep .1
	done
}
list() { find / -xdev \( -path /proc -o -path /dev -o -path /sys -o -path /tmp \) -prune -o -print | sort; }
list >/tmp/before
eval "$INSTALL"
PATH=$HOME/.local/bin:$PATH
lifeline --version
lifeline-remote --version
lifeline doctor >/tmp/doctor 2>&1 || :

# The daemon's process is told by its variable, which no shell here has.
daemon() {
	for dir in /proc/[0-9]*; do
		if cat "$dir/environ" 2>/dev/null | tr '\0' '\n' | grep -qx DAEMON=web && [ "$(cat "$dir/comm" 2>/dev/null)" = sleep ]; then echo "${dir#/proc/}"; fi
	done
}
one() { [ "$(daemon | wc -l)" = 1 ]; }
lifeline install web -- env DAEMON=web sleep 1000
eval "$CRON" &
cron=$!
until_ one
first=$(daemon)
lifeline status web
lifeline doctor web || die "the doctor isn't content: $?"
echo "cron has started it"
kill -KILL "$(lifeline status --json web | sed -n 's/.*"supervisor": *\([0-9]*\).*/\1/p')" "$first"
until_ one
[ "$(daemon)" != "$first" ] || die "it was not killed"
echo "cron has started it again"
lifeline uninstall web
lifeline terminate web
[ -z "$(daemon)" ] || die "it lives on"
lifeline forget web
kill "$cron"
wait "$cron" || :
eval "$REMOVE"
list >/tmp/after
echo "left:"
diff /tmp/before /tmp/after | sed -n 's/^[<>+-] *\(\/.*\)/\1/p' | grep -v "$IGNORE" || :
echo "end"
