#!/bin/sh
# recipes.sh OUT: fills in Homebrew's formula and Arch's PKGBUILD for the release
# in OUT, whose releases are at LIFELINE_URL. MAINTAINER is who answers for them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
url=${LIFELINE_URL:?set it to the address of the releases}
VERSION=$(cat "$out/share/VERSION") URL=${url%/} MAINTAINER=${MAINTAINER:-The lifeline authors <lifeline@localhost>}
export VERSION URL MAINTAINER
for template in lifeline.rb PKGBUILD; do
	awk '
function put(text, by) { # gsub takes & and \ in by for more than letters
	while (i = index($0, text)) $0 = substr($0, 1, i - 1) by substr($0, i + length(text))
}
FNR == NR {
	sub(/^\.\//, "", $2)
	sum[$2] = $1
	next
}
{
	put("@VERSION@", ENVIRON["VERSION"])
	put("@URL@", ENVIRON["URL"])
	put("@MAINTAINER@", ENVIRON["MAINTAINER"])
	while (match($0, /@SUM:[a-z0-9_]+@/)) {
		archive = "lifeline_" substr($0, RSTART + 5, RLENGTH - 6) ".tar.gz"
		if (!(archive in sum)) {
			print "recipes.sh: the release has no " archive >"/dev/stderr"
			exit 1
		}
		put(substr($0, RSTART, RLENGTH), sum[archive])
	}
	print
}' "$out/SHA256SUMS" "$here/$template.in" >"$out/$template.new"
	mv "$out/$template.new" "$out/$template"
done
