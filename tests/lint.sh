#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# House rules that a search can enforce.  Each rule says what to use instead.
set -u
cd "${abs_top_srcdir:-$(dirname "$0")/..}" || exit 99
if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]; then
    echo "1..0 # SKIP works on a git checkout"
    exit 0
fi
mapfile -t c_files < <(git ls-files '*.c' '*.h')
mapfile -t scripts < <(git ls-files check demo .ci/run autogen.sh 'build-aux/*.bash' 'tests/*.sh' 'tests/lib/*' 'tests/vm/*.sh' 'tests/vm/*.bash' |
    xargs grep -lE '^#!/bin/(ba)?sh|shellcheck shell=bash')
mapfile -t all < <(git ls-files | grep -vE '^(LICENSE|po/.*\.po|tests/fuzz/corpus/|tests/xml/|.*\.(png|bin|img|raw))')
count=0
failed=0

verdict() {
    count=$((count + 1))
    if [ -n "$2" ]; then
        failed=$((failed + 1))
        echo "not ok $count - $1"
        printf '%s\n' "$2" | head -n 20 | sed 's/^/# /'
    else
        echo "ok $count - $1"
    fi
}

# no REGEX RULE: no C file has it (comments and strings are not told apart, so keep the patterns tight).
no() { verdict "$2" "$(grep -nE "$1" "${c_files[@]}" || :)"; }
# not_in_product REGEX RULE: the same for all but tests and benchmarks.
mapfile -t product < <(printf '%s\n' "${c_files[@]}" | grep -vE '^(tests|bench)/')
not_in_product() { verdict "$2" "$(grep -nE "$1" "${product[@]}" || :)"; }

not_in_product '\b(sprintf|vsprintf|strcpy|strcat|gets|strtok)[[:space:]]*\(' 'snprintf, g_strdup_printf, g_strlcpy instead of unbounded string functions'
not_in_product '\b(atoi|atol|atoll|atof)[[:space:]]*\(' 'mb_parse_* instead of atoi'
not_in_product '\b(system|popen)[[:space:]]*\(' 'msb-process instead of a shell'
not_in_product '\b(mktemp|tmpnam|tempnam)[[:space:]]*\(' 'mkostemp or O_TMPFILE instead of racy names'
not_in_product '\b(usleep|nanosleep|sleep)[[:space:]]*\([^)]' 'wait for an event with a deadline instead of sleeping'
no '\b(FIXME|XXX|HACK)\b|[Tt]odo:|\bTODO\b' 'finish it or write it down in the documentation'
no '	' 'spaces instead of tabs'
no '[[:space:]]+$' 'no white space at the end of a line'
not_in_product '^.{121,}$' 'lines of at most 120 columns'
verdict 'every file of code says its licence' \
    "$(grep -L 'SPDX-License-Identifier' "${c_files[@]}" "${scripts[@]}" configure.ac $(git ls-files '*.am' 'm4/msb-*.m4') || :)"
verdict 'a source file has at most 800 lines' "$(wc -l "${product[@]}" | awk '$2 != "total" && $1 > 800')"
verdict 'headers are guarded' "$(for f in "${c_files[@]}"; do case $f in *.h) grep -qE '^#ifndef [A-Z0-9_]+_H' "$f" || echo "$f" ;; esac; done)"
verdict 'no path of a build machine' "$(grep -nF "$(pwd -P)/" "${all[@]}" || :)$(grep -nE '/home/[a-z]+/(src|work)' "${all[@]}" |
    grep -v '^tests/lint.sh:' || :)"
verdict 'files end with a newline' "$(for f in "${all[@]}"; do [ ! -s "$f" ] || [ -z "$(tail -c 1 "$f" | tr '\n\0' ' ' | tr -d ' ')" ] || echo "$f"; done)"
if command -v shellcheck >/dev/null; then
    verdict 'shellcheck is content' "$(shellcheck -f gcc -S warning -e SC1091,SC2034,SC2046,SC2154 "${scripts[@]}" 2>&1 || :)"
else
    count=$((count + 1))
    echo "ok $count - shellcheck # SKIP it is not installed"
fi
echo "1..$count"
[ "$failed" = 0 ]
