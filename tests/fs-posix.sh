#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A share mounted on this host through /dev/fuse: the same calls on it and on a plain directory must have the
# same results (tests/posix), those of a list and random ones.  MSB_TEST_LONG=1: a million a mode; MSB_TEST_OPS
# and MSB_TEST_SEED choose.
. "$(dirname "$0")/lib/fs.bash"
ops=${MSB_TEST_OPS:-10000}
[ -z "${MSB_TEST_LONG:-}" ] || ops=${MSB_TEST_OPS:-1000000}

[ "$(id -u)" = 0 ] || skip_all 'mounting a share needs root'
(: <>/dev/fuse) 2>/dev/null || skip_all '/dev/fuse cannot be opened'
mkdir "$work/share"
has_user_attributes "$work/share" || skip_all "the file system of $work has no user attributes"

serve() { # serve MODE OPTIONS...
    local mode=$1
    shift
    rm -rf "${work:?}"/{share,mnt,judge}
    mkdir "$work"/{share,mnt,judge}
    mount_share --stat-virt="$mode" "$@"
}
# The rules, call by call: what each call says must be what it says in a plain directory.
errors() { # errors MODE OPTIONS...
    local mode=$1 more=()
    [ "$mode" != off ] || more=(acls)
    serve "$@" && chmod 755 "$work/judge" "$work/mnt" || { check 1 "$mode: mounted"; return; }
    "$builddir/tests/posix/px-errors" "$work/judge" "${more[@]}" >"$work/want"
    "$builddir/tests/posix/px-errors" "$work/mnt" "${more[@]}" >"$work/got"
    diff "$work/want" "$work/got" >"$work/log"
    check $(($? || $(wc -l <"$work/want") < 400)) "$*: $(wc -l <"$work/want") calls on the rules of POSIX agree with a plain directory"
    stop
}
errors strict
errors strict --cache=none
errors strict --no-openat2
errors relaxed
errors off

# What a mode cannot have by design is named behind it: relaxed keeps no owner for symbolic links; and what only one has.
for mode in strict relaxed off; do
    limits=()
    [ $mode != relaxed ] || limits=(link-owner)
    [ $mode != off ] || limits=(acls)
    serve $mode
    check $? "$mode: mounted"
    "$builddir/tests/posix/px-random" "$work/mnt" "$work/judge" "$ops" "${MSB_TEST_SEED:-1}" "${limits[@]}"
    check $? "$mode: $ops random operations agree with a plain directory"
    # A server that knows of nothing finds all of it on the host again.
    stop
    mount_share --stat-virt=$mode
    "$builddir/tests/posix/px-random" "$work/mnt" "$work/judge" 0 1 "${limits[@]}"
    check $? "$mode: and so does what is left of them when it is mounted again"
    stop
done
serve strict --cache=none
"$builddir/tests/posix/px-random" "$work/mnt" "$work/judge" $((ops / 4)) 3 no-shared-mmap
check $? "strict, nothing cached: $((ops / 4)) random operations"
stop
finish
