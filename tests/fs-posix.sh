#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A share mounted on this host through /dev/fuse: the same calls on it and on a plain directory must have the
# same results (tests/posix), those of a list and random ones.  MSB_TEST_LONG=1: a million a mode; MSB_TEST_OPS
# and MSB_TEST_SEED choose.
set -u
builddir=${abs_top_builddir:-$PWD}
ops=${MSB_TEST_OPS:-10000}
[ -z "${MSB_TEST_LONG:-}" ] || ops=${MSB_TEST_OPS:-1000000}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/fs-posix.XXXXXX")
pid=
stop() {
    [ -n "$pid" ] || return 0
    umount -l "$work/mnt" 2>/dev/null
    kill "$pid" 2>/dev/null
    wait "$pid"
    pid=
}
cleanup() {
    stop
    rm -rf "$work"
}
trap cleanup EXIT
chmod 755 "$work"

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}
[ "$(id -u)" = 0 ] || skip_all 'mounting a share needs root'
(: <>/dev/fuse) 2>/dev/null || skip_all '/dev/fuse cannot be opened'
mkdir "$work/share"
python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.t", b"1")' "$work/share" 2>/dev/null ||
    skip_all "the file system of $work has no user attributes"

serve() { # serve MODE OPTIONS...
    local mode=$1
    shift
    rm -rf "${work:?}"/{share,mnt,judge}
    mkdir "$work"/{share,mnt,judge}
    mount_again "$mode" "$@"
}
mount_again() {
    local mode=$1
    shift
    "$builddir/vhost-fs/msb-vhost-fs" --shared-dir="$work/share" --mount="$work/mnt" --stat-virt="$mode" "$@" \
        2>"$work/log" &
    pid=$!
    for ((i = 0; i < 500; i++)); do
        mountpoint -q "$work/mnt" && return 0
        kill -0 $pid 2>/dev/null || break
        read -rt 0.02 <> <(:) || :
    done
    return 1
}

count=0
failed=0
verdict() { # verdict STATUS DESCRIPTION
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failed=$((failed + 1))
        sed 's/^/# /' "$work/log" | head -n 20
    fi
}

# The rules, call by call: what each call says must be what it says in a plain directory.
errors() { # errors MODE OPTIONS...
    local mode=$1
    serve "$@" && chmod 755 "$work/judge" "$work/mnt" || { verdict 1 "$mode: mounted"; return; }
    "$builddir/tests/posix/px-errors" "$work/judge" >"$work/want"
    "$builddir/tests/posix/px-errors" "$work/mnt" >"$work/got"
    diff "$work/want" "$work/got" >"$work/diff"
    local differ=$?
    sed 's/^/# /' "$work/diff" | head -n 40
    verdict $((differ || $(wc -l <"$work/want") < 400)) "$*: $(wc -l <"$work/want") calls on the rules of POSIX agree with a plain directory"
    stop
}
errors strict
errors strict --cache=none
errors strict --no-openat2
errors relaxed
errors off

# What a mode cannot have by design is named behind it: relaxed keeps no owner for symbolic links.
for mode in strict relaxed off; do
    limits=()
    [ $mode != relaxed ] || limits=(link-owner)
    serve $mode
    verdict $? "$mode: mounted"
    "$builddir/tests/posix/px-random" "$work/mnt" "$work/judge" "$ops" "${MSB_TEST_SEED:-1}" "${limits[@]}"
    verdict $? "$mode: $ops random operations agree with a plain directory"
    # A server that knows of nothing finds all of it on the host again.
    stop
    mount_again $mode
    "$builddir/tests/posix/px-random" "$work/mnt" "$work/judge" 0 1 "${limits[@]}"
    verdict $? "$mode: and so does what is left of them when it is mounted again"
    stop
done
serve strict --cache=none
"$builddir/tests/posix/px-random" "$work/mnt" "$work/judge" $((ops / 4)) 3 no-shared-mmap
verdict $? "strict, nothing cached: $((ops / 4)) random operations"
stop
echo "1..$count"
[ "$failed" = 0 ]
