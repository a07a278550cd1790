#!/bin/sh
# dist.sh OUT [OS/ARCH...]: makes what is shipped, from the last commit and
# nothing else: for each system the programs, and once the manual page, the
# completions and the licence. The same commit gives the same bytes.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
out=$1
shift
[ $# -gt 0 ] || set -- $(cat "$here/packaging/targets")
mkdir -p "$out"
out=$(cd "$out" && pwd)
tmp=$(mktemp -d)
umask 022 # the archives tell the modes
trap 'rm -rf "$tmp"' EXIT

# A clone, so that what isn't committed stays out, and because the go command
# writes the commit down only in one (not in a worktree of another clone).
if commit=$(git -C "$here" rev-parse HEAD 2>/dev/null); then
	git clone -q "$here" "$tmp/src"
	git -C "$tmp/src" checkout -q --detach "$commit"
	src=$tmp/src
	vcs=true
	epoch=$(git -C "$src" show -s --format=%ct)
else
	src=$here
	vcs=false
	epoch=${SOURCE_DATE_EPOCH:-0}
	echo "dist.sh: this is no clone: the programs won't know their commit" >&2
fi
day=$(date -u -d "@$epoch" +%F 2>/dev/null || date -u -r "$epoch" +%F)

tags=urfave_cli_no_docs,osusergo,netgo
programs="lifeline=."
[ -d "$src/cmd/lifeline-remote" ] && programs="$programs lifeline-remote=./cmd/lifeline-remote"
programs=${PROGRAMS:-$programs}
for target; do
	os=${target%/*} arch=${target#*/} arm=
	case $arch in armv?) arm=${arch#armv} ;; esac
	for p in $programs; do
		# Routers' processors have no floating point; others run the same program.
		(cd "$src" && CGO_ENABLED=0 GOOS=$os GOARCH=${arch%v[67]} GOARM=$arm GOMIPS=softfloat GOMIPS64=softfloat GOFLAGS=-mod=readonly \
			go build -trimpath -buildvcs=$vcs -tags $tags -ldflags "-s -w" -o "$out/${os}_$arch/${p%%=*}" "${p#*=}")
	done
done

rm -rf "$out/share"
mkdir -p "$out/share"
(cd "$src" && go run -tags $tags ./packaging/man -date "$day") >"$out/share/lifeline.1"
sed "s/@DATE@/$day/" "$src/packaging/man/lifeline-remote.1" >"$out/share/lifeline-remote.1"
for page in lifeline lifeline-remote; do
	gzip -9n <"$out/share/$page.1" >"$out/share/$page.1.gz"
done
(cd "$src" && go run ./proof/modules -notices) >"$out/share/NOTICES"
cp "$src"/packaging/completions/* "$src/LICENSE" "$out/share/"
chmod 644 "$out"/share/*

# The version: internal/release has it. Before the commit has its tag, the day
# and the commit follow; that sorts before the release.
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' "$src/internal/release/release.go")
if [ "$(git -C "$src" describe --tags --exact-match 2>/dev/null)" != "v$version" ]; then
	[ $vcs = false ] || version="$version~git$(echo "$day" | tr -d -).$(git -C "$src" rev-parse --short=12 HEAD)"
fi
echo "$version" >"$out/share/VERSION"
echo "$epoch" >"$out/share/EPOCH"
# What get.sh fetches: one archive for each system.
for dir in "$out"/*_*/; do
	dir=${dir%/} name=lifeline_$(basename "$dir")
	tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r,go-w -cf - \
		-C "$dir" . -C "$out/share" LICENSE NOTICES lifeline.1 lifeline-remote.1 \
		lifeline.bash _lifeline lifeline.fish | gzip -9n >"$out/$name.tar.gz"
done
(cd "$out" && find . -type f ! -name 'SHA256SUMS*' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
find "$out" -exec touch -h -d "@$epoch" {} + 2>/dev/null || true
