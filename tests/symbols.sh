#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libmsb exports exactly what its installed headers declare, and has all of it.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
builddir=${abs_top_builddir:-$srcdir/build}
lib=$builddir/.libs/libmsb.so
map=$srcdir/src/libmsb/libmsb.sym
tmp=$(mktemp -d "${TMPDIR:-/tmp}/msbt-symbols-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
count=0
failed=0

# same WHAT FILE FILE: both lists are equal.
same() {
    count=$((count + 1))
    if diff -u "$2" "$3" >"$tmp/diff"; then
        echo "ok $count - $1"
    else
        failed=$((failed + 1))
        echo "not ok $count - $1"
        grep '^[-+]' "$tmp/diff" | sed 's/^/# /'
    fi
}

# The headers that make install installs, and the functions they declare: comments and preprocessor lines dropped,
# one declaration per line, the first msb_...( of each.
sed -n '/^msbinclude_HEADERS/,/NULL/s/.*\(src\/libmsb\/[a-z-]*\.h\).*/\1/p' "$srcdir/src/libmsb/Makemodule.am" >"$tmp/headers"
(cd "$srcdir" && xargs cat <"$tmp/headers") |
    sed -e 's,/\*[^*]*\*/,,g' -e '/\/\*/,/\*\//d' -e '/^#/d' -e '/^G_DEFINE_/d' -e '/^G_BEGIN/d' -e '/^G_END/d' |
    tr '\n' ' ' | tr ';' '\n' | sed 's/typedef[^;]*//; s/([^()]*\*[a-z_]*)([^()]*)//g' |
    grep -oE '\bmsb_[a-z0-9_]+[[:space:]]*\(' | tr -d ' (' | sort -u >"$tmp/declared"
sed -n 's/^ *\(msb_[a-z0-9_]*\);$/\1/p' "$map" | sort >"$tmp/listed"
same 'libmsb.sym lists what the headers declare' "$tmp/declared" "$tmp/listed"

if [ -f "$lib" ] && command -v nm >/dev/null; then
    nm -D --defined-only "$lib" | awk '$2 ~ /[TDBR]/ { sub(/@.*/, "", $3); print $3 }' | sort -u >"$tmp/exported"
    same 'the library exports what libmsb.sym lists' "$tmp/listed" "$tmp/exported"
else
    count=$((count + 1))
    echo "ok $count - exports # SKIP there is no shared library, or no nm"
fi
echo "1..$count"
[ "$failed" = 0 ]
