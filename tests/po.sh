#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Translations are whole: every file with a translatable string is listed, and every listed language has every string.
set -u
: "${abs_top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
cd "$abs_top_srcdir" || exit 99
for tool in xgettext msgmerge msgfmt; do
    command -v $tool >/dev/null || { echo "1..0 # SKIP $tool is not installed"; exit 0; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/msb-po-XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
count=0
failed=0

verdict() {
    count=$((count + 1))
    if [ -z "$2" ]; then
        echo "ok $count - $1"
    else
        failed=$((failed + 1))
        echo "not ok $count - $1"
        printf '%s\n' "$2" | head -n 20 | sed 's/^/# /'
    fi
}

listed=$(grep -v '^#' po/POTFILES.in | sort)
marked=$(grep -lE '\b(_|N_|ngettext) ?\("' src/msb/*.c | sort)
verdict 'POTFILES.in lists every file with a translatable string' "$(comm -13 <(echo "$listed") <(echo "$marked"))"
verdict 'POTFILES.in lists no others' "$(comm -23 <(echo "$listed") <(echo "$marked"))"
grep -v '^#' po/POTFILES.in | xgettext --files-from=- --output="$work/msb.pot" --keyword=_ --keyword=N_ \
    --keyword=ngettext:1,2 --from-code=UTF-8 --add-comments=TRANSLATORS: --package-name=msb 2>"$work/xgettext"
verdict 'xgettext is content' "$(cat "$work/xgettext")"
for language in $(grep -v '^#' po/LINGUAS); do
    msgmerge --quiet --no-fuzzy-matching --output-file="$work/$language.po" "po/$language.po" "$work/msb.pot" 2>"$work/merge"
    verdict "$language.po fits the program" "$(cat "$work/merge")"
    statistics=$(LC_ALL=C msgfmt --check --statistics --output-file=/dev/null "$work/$language.po" 2>&1)
    verdict "$language.po is whole and well-formed" "$(grep -vE '^[0-9]+ translated messages?\.$' <<<"$statistics")"
done
echo "1..$count"
[ "$failed" = 0 ]
