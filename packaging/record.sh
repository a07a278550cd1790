#!/bin/sh
# record.sh LIFELINE OUT: keeps in OUT what LIFELINE leaves for a later lifeline
# to go on from. Run it once for each release:
#
#	packaging/record.sh dist/linux_amd64/lifeline packaging/testdata/0.1.0
#
# OUT/version is what LIFELINE --version says. OUT/state is the state directory
# while web runs, a job has run well and badly, and app is paused. OUT/environ
# and OUT/argv are web's variables and the command line that started it.
# OUT/handed.json is what reload --self hands over. OUT/control has the requests
# on web's control socket, each before its answer. DIR stands for the directory.
set -eu
program=$(realpath "$1")
out=$2
worker=$(realpath "$(dirname "$0")/testdata/worker.py")
top=$(mktemp -d)
trap '"$program" --dir "$top/dir" terminate --now web >/dev/null 2>&1 || :; rm -rf "$top"' EXIT
mkdir -m 700 "$top/dir"
mkdir -p "$out/state"
out=$(realpath "$out")
until_() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 600 ] || { echo "record.sh: never: $*" >&2; exit 1; }
		sleep .1
	done
}
words() { sed "s,$top,DIR,g;s,$worker,WORKER,g"; }

# A copy, in whose place a newer program can be put.
cp "$program" "$top/lifeline"
L=$top/lifeline
"$L" --version >"$out/version"
"$L" --dir "$top/dir" job -- true
"$L" --dir "$top/dir" --log "$top/log" job -- sh -c 'echo what it printed last; exit 3' || [ $? = 3 ]
"$L" --dir "$top/dir" pause --for 36500d app >/dev/null
"$L" --dir "$top/dir" --respawn --respawn-delay 0 --notify --watchdog 10m --listen "unix://$top/socket" \
	web -- python3 "$worker" "$top/pids" &
supervisor=$!
until_ sh -c 'grep -q "\"status\":\"serving\"" "$0"/web-*.state' "$top/dir"
pid=$(cut -d' ' -f1 "$top/pids")
tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^(LIFELINE_|NOTIFY_SOCKET|WATCHDOG_|LISTEN_)' | sort | words >"$out/environ"
tr '\0' '\n' <"/proc/$supervisor/cmdline" | tail -n +2 | words >"$out/argv"
for file in "$top"/dir/*; do
	[ ! -f "$file" ] || [ -L "$file" ] || words <"$file" >"$out/state/$(basename "$file")"
done

# The program on disk is now one that keeps what it gets, and hands it on.
cp "$L" "$top/real"
cat >"$top/newer" <<END
#!/bin/sh
[ "\$1" = can-take-over ] || cat /proc/self/fd/\$LIFELINE_HANDED >"$top/handed"
exec "$top/real" "\$@"
END
chmod 755 "$top/newer"
mv "$top/newer" "$L"
"$top/real" --dir "$top/dir" reload --self web >/dev/null
words <"$top/handed" >"$out/handed.json"

# Last what ends the worker.
perl -MIO::Socket::UNIX -e '
my ($path, @requests) = @ARGV;
for (@requests) {
	my $s = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!";
	print $s "$_\n";
	my $answer = <$s>;
	$answer =~ s/\d+/N/g;
	print "$_\n$answer";
}' "$(echo "$top"/dir/*.ctl)" grace self reload restart unheard-of pause kill >"$out/control"
