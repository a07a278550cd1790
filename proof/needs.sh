#!/bin/sh
# needs.sh installs what the tests need and this machine lacks, where it may
# (Debian, as root). Elsewhere it says what is missing. The tests that need it
# are skipped, and named.
need() { command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing="$missing $2"; }
missing=
need /usr/sbin/cron cron
need crontab cron
# Debian's busybox has no crond; busybox-static has one, and replaces it.
busybox --list 2>/dev/null | grep -qx crond || missing="$missing busybox-static"
need strace strace
need qemu-arm-static qemu-user-static # its registration stays its own: see packaging/testdata/foreign.sh
need rpm rpm
need zstd zstd
need curl curl
need wget wget
need flock util-linux
need unshare util-linux
need ip iproute2
need pgrep procps
need ps procps
need pkill procps
need setlock daemontools
need systemd-notify systemd
need gcc gcc
need /usr/include/systemd/sd-daemon.h libsystemd-dev
need perl perl
need spin spin
need gunicorn gunicorn
need lighttpd lighttpd
need node nodejs
need starman starman
need redis-server redis-server
need /usr/bin/celery celery
need ss iproute2
need start_server libserver-starter-perl
[ -e /usr/share/perl5/Test/TCP.pm ] || missing="$missing libtest-tcp-perl"
[ -e /usr/share/perl5/Test/Requires.pm ] || missing="$missing libtest-requires-perl"
need /usr/bin/python3 python3
need /usr/lib/python3/dist-packages/systemd/daemon.py python3-systemd
need patch patch
need nginx nginx-light
need puma puma
need setpriv util-linux
need zsh zsh
need fish fish
need tmux tmux
need ruby ruby
need groff groff
need man man-db
need dpkg-deb dpkg
need mmdebstrap mmdebstrap
need git git
need chromium chromium
need npm npm
command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
need pgbouncer pgbouncer
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
# Server::Starter's own tests are in its source package alone.
if [ -z "$(ls /usr/src/libserver-starter-perl_*.orig.tar.gz 2>/dev/null)" ] && [ "$(id -u)" = 0 ] && [ -e /etc/apt/sources.list.d/debian.sources ]; then
	lists=$(mktemp -d) && chmod 755 "$lists" && mkdir -p "$lists/lists/partial"
	sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$lists/src.sources"
	source() { apt-get -qq -o "Dir::Etc::sourcelist=$lists/src.sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$lists/lists" "$@"; }
	(cd /usr/src && source update && source source --download-only --tar-only libserver-starter-perl) >/dev/null 2>&1 ||
		echo "missing on this machine: the source of libserver-starter-perl in /usr/src"
	rm -rf "$lists"
fi
# systemd-cron's package can't stand beside cron's: its generator is only unpacked.
if [ ! -e /usr/src/systemd-cron ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	(cd "$(mktemp -d)" && apt-get -qq download systemd-cron && dpkg-deb -x systemd-cron_*.deb /usr/src/systemd-cron) >/dev/null 2>&1 ||
		echo "missing on this machine: systemd-cron's generator in /usr/src/systemd-cron"
fi
# The accessibility checker of proof/page, in the version of its lock file.
axe() {
	[ -e proof/page/node_modules/axe-core/axe.min.js ] || ! command -v npm >/dev/null 2>&1 ||
		(cd proof/page && npm ci --ignore-scripts --no-audit --no-fund) >/dev/null 2>&1 ||
		echo "missing on this machine: axe-core in proof/page (npm ci)"
}
[ -z "$missing" ] && axe && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing with apt-get what the tests need:$missing"
	export DEBIAN_FRONTEND=noninteractive
	if said=$({ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } 2>&1); then
		axe
		exit 0
	fi
	echo "apt-get failed:"
	echo "$said"
fi
echo "missing on this machine, so that some tests will be left out:$missing"
echo "(Debian: apt-get install$missing)"
