#!/bin/sh
# get.sh [VERSION]: installs a release of lifeline for the user who runs it, into
# ~/.local/bin, without root. It needs sh, curl or wget, sha256sum (or shasum,
# sha256), tar and gzip.
#
#	LIFELINE_URL=https://…/releases sh get.sh
#
# LIFELINE_URL is where the releases are: URL/VERSION/SHA256SUMS and the archives
# that it names. LIFELINE_BIN is another directory to install into. Nothing is
# put there before all of it was fetched and its sum was right.
set -eu
die() {
	echo "get.sh: $*" >&2
	exit 1
}
version=${1:-latest}
url=${LIFELINE_URL:-}
[ -n "$url" ] || die "LIFELINE_URL isn't set: give the address of the releases"
bin=${LIFELINE_BIN:-${HOME:?}/.local/bin}

case $(uname -s) in
Linux) system=linux ;;
Darwin) system=darwin ;;
FreeBSD) system=freebsd ;;
OpenBSD) system=openbsd ;;
NetBSD) system=netbsd ;;
*) die "no release is built for $(uname -s); build it from source" ;;
esac
case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
i?86) arch=386 ;;
aarch64 | arm64 | evbarm) arch=arm64 ;;
armv6*) arch=armv6 ;;
armv7* | armv8l) arch=armv7 ;;
riscv64 | ppc64le | s390x | mips64) arch=$(uname -m) ;;
loongarch64) arch=loong64 ;;
mips) arch=mips # the kernel says no more: a program's sixth byte has the byte order
	[ "$(dd if=/bin/sh bs=1 skip=5 count=1 2>/dev/null | od -An -tu1 | tr -d ' ')" = 1 ] && arch=mipsle ;;
*) die "no release is built for $(uname -m); build it from source" ;;
esac

if command -v curl >/dev/null 2>&1; then
	fetch() { curl -fsSL --retry 2 -o "$2" "$1"; }
elif command -v wget >/dev/null 2>&1; then
	fetch() { wget -q -O "$2" "$1"; }
else
	die "neither curl nor wget is here: install one of them, or fetch the archive by hand"
fi
if command -v sha256sum >/dev/null 2>&1; then
	sum() { sha256sum <"$1" | cut -d' ' -f1; }
elif command -v shasum >/dev/null 2>&1; then
	sum() { shasum -a 256 <"$1" | cut -d' ' -f1; }
elif command -v sha256 >/dev/null 2>&1; then
	sum() { sha256 -q <"$1"; }
else
	die "neither sha256sum nor shasum nor sha256 is here, so what is fetched can't be checked"
fi

tmp=$(mktemp -d)
new=
trap 'rm -rf "$tmp" $new' EXIT
trap 'exit 1' HUP INT TERM
archive=lifeline_${system}_$arch.tar.gz
fetch "$url/$version/SHA256SUMS" "$tmp/SHA256SUMS" || die "cannot fetch $url/$version/SHA256SUMS: is there a release $version?"
want=$(sed -n "s|^\([0-9a-f]\{64\}\)  \(\./\)\{0,1\}$archive\$|\1|p" "$tmp/SHA256SUMS")
[ -n "$want" ] || die "release $version has no $archive"
fetch "$url/$version/$archive" "$tmp/$archive" || die "cannot fetch $url/$version/$archive"
got=$(sum "$tmp/$archive")
[ "$got" = "$want" ] || die "$archive has the sum $got, and SHA256SUMS says $want: it was damaged or exchanged; nothing was installed"
gzip -dc "$tmp/$archive" | tar -xf - -C "$tmp"
[ -f "$tmp/lifeline" ] && [ -f "$tmp/lifeline-remote" ] || die "$archive lacks a program; nothing was installed"
"$tmp/lifeline" --version >/dev/null || die "$archive doesn't run on this machine; nothing was installed"

# Copied beside their places first, so that each appears whole.
mkdir -p "$bin"
for program in lifeline-remote lifeline; do
	new="$new $bin/.$program.new"
	cp "$tmp/$program" "$bin/.$program.new"
	chmod 755 "$bin/.$program.new"
done
for program in lifeline-remote lifeline; do
	mv -f "$bin/.$program.new" "$bin/$program"
done
echo "installed: $("$bin/lifeline" --version)"
case :$PATH: in
*":$bin:"*) ;;
*) echo "$bin isn't on your PATH; lifeline install writes the whole path into the crontab, so cron needs nothing more" ;;
esac
