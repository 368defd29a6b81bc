#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same requests to msb-vhost-fs and to QEMU's virtiofsd, without a guest: what differs must be an expected
# difference, and docs/virtiofsd.md must explain it.  MSB_TEST_LONG=1: a million operations by lot for each mode;
# MSB_TEST_OPS and MSB_TEST_SEED choose.
set -u
builddir=${abs_top_builddir:-$PWD}
virtiofsd=${VIRTIOFSD:-/usr/lib/qemu/virtiofsd}
differ=$builddir/tests/differ/fs-differ
docs=${abs_top_srcdir:-$(dirname "$0")/..}/docs/virtiofsd.md
ops=${MSB_TEST_OPS:-3000}
runs=1
# Not in one run: of what is removed, virtiofsd keeps a descriptor as long as the guest does not forget it.
[ -z "${MSB_TEST_LONG:-}" ] || ops=${MSB_TEST_OPS:-200000} runs=5
work=$(mktemp -d "${TMPDIR:-/var/tmp}/fs-differ.XXXXXX")
pid=
stop() {
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    pid=
}
trap 'stop; rm -rf "$work"' EXIT

count=0
failed=0
verdict() { # verdict STATUS DESCRIPTION
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failed=$((failed + 1))
    fi
}

# Every reason of the list is a row of the table, and the other way round.
"$differ" list | sort -u >"$work/reasons"
sed -n 's/^| \([a-z][a-z-]*\) |.*/\1/p' "$docs" | sort -u >"$work/rows"
diff "$work/reasons" "$work/rows" | sed 's/^/# /'
cmp -s "$work/reasons" "$work/rows" && [ -s "$work/rows" ]
verdict $? 'docs/virtiofsd.md explains every difference that is expected, and no other'

skip() {
    count=$((count + 1))
    echo "ok $count - the same requests to both # SKIP $1"
    echo "1..$count"
    exit $((failed != 0))
}
[ -x "$virtiofsd" ] || skip "$virtiofsd is not there (package qemu-system-common)"
[ "$(id -u)" = 0 ] || skip 'virtiofsd needs root'
python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.t", b"1")' "$work" 2>/dev/null ||
    skip "the file system of $work has no user attributes"

compare() { # compare MODE SEED: with a new virtiofsd and new directories
    local mode=$1 seed=$2
    rm -rf "${work:?}/$mode"
    mkdir "$work/$mode" "$work/$mode"/{ours,theirs}
    "$virtiofsd" --socket-path="$work/$mode/socket" -o source="$work/$mode/theirs" -o sandbox=chroot -o cache=auto \
        -o xattr -o posix_lock -o flock -o announce_submounts --thread-pool-size=0 >"$work/$mode/log" 2>&1 &
    pid=$!
    "$differ" $mode "$work/$mode/ours" "$work/$mode/theirs" "$work/$mode/socket" "$ops" "$seed" \
        >"$work/$mode/out" 2>"$work/$mode/err"
    status=$?
    grep -E '^(not ok|#|Bail)' "$work/$mode/out" | sed 's/^not ok/# not ok/'
    [ $status = 0 ] || sed 's/^/# /' "$work/$mode/err" "$work/$mode/log" | head -n 20
    verdict $status "stat-virt=$mode: $(grep -c '^ok' "$work/$mode/out") cases, $ops operations by lot"
    stop
}
for mode in off strict relaxed; do
    for ((run = 0; run < runs; run++)); do
        compare $mode $((${MSB_TEST_SEED:-1} + run))
    done
done
echo "1..$count"
[ "$failed" = 0 ]
