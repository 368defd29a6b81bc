#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The layers are one-way: each folder includes only what lies below it.
set -u
cd "${abs_top_srcdir:-$(dirname "$0")/..}" || exit 99
count=0
failed=0

# allowed FOLDER PREFIX...: project headers (by prefix) that sources in FOLDER may include.
allowed() {
    local folder=$1 bad
    shift
    local own=$*
    bad=$(grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' "$folder"/*.[ch] 2>/dev/null |
        grep -vE "include[[:space:]]+\"(config\.h|${own// /|})" || :)
    count=$((count + 1))
    if [ -n "$bad" ]; then
        failed=$((failed + 1))
        echo "not ok $count - $folder includes only $own"
        printf '%s\n' "$bad" | sed 's/^/# /'
    else
        echo "ok $count - $folder includes only $own"
    fi
}

# without FOLDER REGEX: no source in FOLDER includes a system header matching REGEX.
without() {
    local folder=$1 bad
    bad=$(grep -HnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+<($2)" "$folder"/*.[ch] 2>/dev/null || :)
    count=$((count + 1))
    if [ -n "$bad" ]; then
        failed=$((failed + 1))
        echo "not ok $count - $folder does without <$2>"
        printf '%s\n' "$bad" | sed 's/^/# /'
    else
        echo "ok $count - $folder does without <$2>"
    fi
}

allowed src/base mb-
allowed src/proto mb- mp-
allowed src/vhost mb- vh-
allowed vhost-blk mb- vh- bk-
allowed vhost-fs mb- vh- fs-
allowed agent mb- mp- ag
allowed src/libmsb mb- mp- msb
allowed src/supervisor mb- mp- msb- sv-
allowed src/msb mb- msb.h cmd ui-
above='glib|gio|gobject|json-glib|libvirt|libxml|archive|ext2fs|gcrypt|curl'
for folder in src/base src/proto src/vhost vhost-blk vhost-fs agent; do without $folder "$above"; done
without src/msb 'libvirt|libxml|archive|ext2fs|gcrypt|curl'
echo "1..$count"
[ "$failed" = 0 ]
