#!/bin/sh
# packages.sh OUT [ARCH...]: makes deb, rpm, apk and Arch packages, all of one
# description, from what dist.sh has made in OUT; MAINTAINER is who answers for
# them. nfpm is the tool that packaging/tools/go.mod pins.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
out=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- amd64 arm64
VERSION=$(cat "$out/share/VERSION")
SOURCE_DATE_EPOCH=$(cat "$out/share/EPOCH")
MAINTAINER=${MAINTAINER:-The lifeline authors <lifeline@localhost>}
export VERSION SOURCE_DATE_EPOCH MAINTAINER ARCH STAGE PACKAGE_ARCH

# The apk tells when a script was last changed.
SCRIPTS=$(mktemp -d)
STAGE=
trap 'rm -rf "$SCRIPTS" "$STAGE"' EXIT
cp "$here/packaging/prerm" "$here/packaging/postrm" "$SCRIPTS/"
chmod 755 "$SCRIPTS"/*
touch -d "@$SOURCE_DATE_EPOCH" "$SCRIPTS"/*
sed "s|: packaging/|: $SCRIPTS/|" "$here/packaging/nfpm.yaml" >"$SCRIPTS/nfpm.yaml"

for ARCH; do
	case $ARCH in armv?) PACKAGE_ARCH=arm${ARCH#armv} ;; *) PACKAGE_ARCH=$ARCH ;; esac # nfpm's word
	STAGE=$(mktemp -d)
	doc=$STAGE/usr/share/doc/lifeline
	install -d "$STAGE/usr/bin" "$doc" "$STAGE/usr/share/man/man1" "$STAGE/usr/share/bash-completion/completions" \
		"$STAGE/usr/share/zsh/vendor-completions" "$STAGE/usr/share/fish/vendor_completions.d"
	install -m 755 "$out/linux_$ARCH"/* "$STAGE/usr/bin/"
	cp "$out/share/lifeline.1.gz" "$out/share/lifeline-remote.1.gz" "$STAGE/usr/share/man/man1/"
	cp "$out/share/lifeline.bash" "$STAGE/usr/share/bash-completion/completions/lifeline"
	cp "$out/share/_lifeline" "$STAGE/usr/share/zsh/vendor-completions/"
	cp "$out/share/lifeline.fish" "$STAGE/usr/share/fish/vendor_completions.d/"
	cp "$out/share/LICENSE" "$doc/copyright"
	cp "$out/share/NOTICES" "$doc/"
	day=$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
	printf 'lifeline (%s) unstable; urgency=medium\n\n  * Built from the commit that lifeline --version tells.\n\n -- %s  %s\n' \
		"$VERSION" "$MAINTAINER" "$day" | gzip -9n >"$doc/changelog.gz"
	find "$STAGE" -type f ! -path '*/bin/*' -exec chmod 644 {} +
	find "$STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	for format in deb rpm apk archlinux; do
		(cd "$here" && GOFLAGS= GOWORK=off go tool -modfile=packaging/tools/go.mod nfpm package --config "$SCRIPTS/nfpm.yaml" --packager $format --target "$out/")
	done
	rm -rf "$STAGE"
done
# dist.sh's sums, with the packages.
(cd "$out" && find . -type f ! -name 'SHA256SUMS*' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
