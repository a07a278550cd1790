#!/bin/sh
# heartbeat.sh: the same daemon as main.go, as a shell script.
#
#   lifeline --respawn --notify --watchdog 20s heartbeat -- ./heartbeat.sh
#   kill -USR1 PID      # it hangs; after 20 s it gets SIGABRT and is started again
#
# The first argument is the time between two heartbeats in seconds (5).
# Heartbeats need systemd-notify(1). Without --notify there is no
# NOTIFY_SOCKET, and the script sends nothing. `lifeline ping` still ends the
# script when its supervisor is gone.

every=${1:-5}
turns=0
hang=

notify() {
	[ -n "$NOTIFY_SOCKET" ] || return 0
	systemd-notify "$@" || echo "heartbeat.sh: cannot send $*" >&2
}

supervisor_lives() {
	[ -n "$LIFELINE_FD" ] && command -v lifeline >/dev/null || return 0
	lifeline ping
}

# A shell runs traps only between two commands. A signal interrupts `wait`, but no
# other command, so the sleep runs in the background.
trap 'hang=yes' USR1
trap 'notify STOPPING=1; kill "$sleep" 2>/dev/null; exit 0' TERM INT

notify READY=1
while :; do
	notify WATCHDOG=1 "STATUS=$turns turns done"
	if ! supervisor_lives; then
		echo "heartbeat.sh: the supervisor is gone" >&2
		exit 1
	fi
	sleep "$every" &
	sleep=$!
	wait "$sleep"
	while [ -n "$hang" ]; do
		wait "$sleep"
		sleep 1
	done
	turns=$((turns + 1))
done
