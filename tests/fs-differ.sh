#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same requests to msb-vhost-fs and to QEMU's virtiofsd, without a guest: what differs must be an expected
# difference, and docs/virtiofsd.md must explain it.  MSB_TEST_LONG=1: a million operations by lot for each mode;
# MSB_TEST_OPS and MSB_TEST_SEED choose.
. "$(dirname "$0")/lib/fs.bash"
virtiofsd=${VIRTIOFSD:-/usr/lib/qemu/virtiofsd}
differ=$builddir/tests/differ/fs-differ
docs=$srcdir/docs/virtiofsd.md
ops=${MSB_TEST_OPS:-3000}
runs=1
# Not in one run: of what is removed, virtiofsd keeps a descriptor as long as the guest does not forget it.
[ -z "${MSB_TEST_LONG:-}" ] || ops=${MSB_TEST_OPS:-200000} runs=5

# Every reason of the list is a row of the table, and the other way round.
"$differ" list | sort -u >"$work/reasons"
sed -n 's/^| \([a-z][a-z-]*\) |.*/\1/p' "$docs" | sort -u >"$work/rows"
diff "$work/reasons" "$work/rows" >"$work/log" && [ -s "$work/rows" ]
check $? 'docs/virtiofsd.md explains every difference that is expected, and no other'

cannot() {
    skip 'the same requests to both' "$1"
    finish
}
[ -x "$virtiofsd" ] || cannot "$virtiofsd is not there (package qemu-system-common)"
[ "$(id -u)" = 0 ] || cannot 'virtiofsd needs root'
has_user_attributes "$work" || cannot "the file system of $work has no user attributes"

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
    { grep -E '^(not ok|#|Bail)' "$work/$mode/out"; tail -n 5 "$work/$mode/err" "$work/$mode/log"; } >"$work/log"
    check $status "stat-virt=$mode: $(grep -c '^ok' "$work/$mode/out") cases, $ops operations by lot"
    stop
}
for mode in off strict relaxed; do
    for ((run = 0; run < runs; run++)); do
        compare $mode $((${MSB_TEST_SEED:-1} + run))
    done
done
finish
