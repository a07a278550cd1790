#!/bin/sh
# release.sh OUT [OS/ARCH...]: everything that a release has, from the last commit
# of a clean tree: what dist.sh and packages.sh make, an image for containers, an
# SBOM of each program, get.sh, the notes, and the sums of all. The same commit
# gives the same bytes.
#
# LIFELINE_URL is where the releases will be, for Homebrew's formula and Arch's
# PKGBUILD.
#
# LIFELINE_SIGN_KEY is an OpenSSH private key to sign the sums with. To check:
#	ssh-keygen -Y verify -f ALLOWED -I lifeline -n lifeline-release -s SHA256SUMS.sig <SHA256SUMS
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
out=$1
shift
changed=$(git -C "$here" status --porcelain)
if [ -n "$changed" ]; then
	echo "release.sh: commit or remove what isn't committed:" >&2
	echo "$changed" >&2
	exit 1
fi
"$here/packaging/dist.sh" "$out" "$@"
out=$(cd "$out" && pwd)
version=$(cat "$out/share/VERSION")

# Distributions have packages for these; routers take the archive.
for arch in amd64 arm64 386 armv7 riscv64 ppc64le s390x loong64; do
	[ ! -d "$out/linux_$arch" ] || "$here/packaging/packages.sh" "$out" "$arch"
done

# From what the go command has written into the programs (go version -m): the
# same for each system, so one of them is asked.
from=$(find "$out" -maxdepth 1 -name '*_*' -type d | LC_ALL=C sort | head -n 1)
for program in lifeline lifeline-remote; do
	(cd "$here" && GOFLAGS=-trimpath GOWORK=off go tool -modfile=packaging/tools/go.mod cyclonedx-gomod bin -json -noserial \
		-version "$version" "$from/$program") |
		sed '/^ *"timestamp": /d' >"$out/$program.cdx.json"
done

# For docker, podman and containerd.
(cd "$here/packaging/tools" && GOFLAGS=-trimpath GOWORK=off go run ./image "$out" "$out/lifeline.oci.tar")

# CHANGELOG.md's first section is this version's.
awk '/^## \[/ { if (++n > 1) exit; next } n' "$here/CHANGELOG.md" >"$out/NOTES.md"
# What people fetch first; it knows where the rest is.
sed "s|{LIFELINE_URL:-}|{LIFELINE_URL:-${LIFELINE_URL:-}}|" "$here/packaging/get.sh" >"$out/get.sh"
# Where the releases are isn't known here. The recipes need the sums of the archives.
if [ -n "${LIFELINE_URL:-}" ]; then
	"$here/packaging/recipes.sh" "$out"
else
	echo "release.sh: LIFELINE_URL isn't set: there is no formula and no PKGBUILD" >&2
fi
(cd "$out" && find . -type f ! -name 'SHA256SUMS*' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
if [ -n "${LIFELINE_SIGN_KEY:-}" ]; then
	rm -f "$out/SHA256SUMS.sig"
	ssh-keygen -q -Y sign -n lifeline-release -f "$LIFELINE_SIGN_KEY" "$out/SHA256SUMS"
else
	echo "release.sh: LIFELINE_SIGN_KEY isn't set: SHA256SUMS is not signed" >&2
fi
