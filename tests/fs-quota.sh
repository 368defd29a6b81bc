#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The quota of vhost-fs on the file systems that hosts have: tests/unit/fs/test-quota on each of them.  XFS without
# preallocation behind the end of files, which may exceed a limit by design (see msb-vhost-fs(1)), but for the test
# that it is credited.
. "$(dirname "$0")/lib/fs.bash"
[ "$(id -u)" = 0 ] || skip_all 'making and mounting file systems needs root'
mkdir "$work/mnt"
trap 'umount -l "$work/mnt" 2>/dev/null; rm -rf "$work"' EXIT

# on NAME MOUNT_OPTIONS PART [MKFS...]: without MKFS there is no image
on() {
    local name=$1 options=$2 part=$3 what
    shift 3
    if [ $# -gt 0 ]; then
        command -v "$1" >/dev/null || { skip "a quota on $name" "$1 is not installed"; return; }
        rm -f "$work/image"
        truncate -s 1G "$work/image"
        "$@" "$work/image" >"$work/log" 2>&1 || { check 1 "mkfs of $name"; return; }
        what=$work/image
    else
        what=none
    fi
    mount -t "$name" -o "$options" "$what" "$work/mnt" 2>"$work/log" ||
        { skip "a quota on $name" "it cannot be mounted: $(head -n 1 "$work/log")"; return; }
    TMPDIR=$work/mnt "$builddir/tests/unit/fs/test-quota" $part >"$work/out" 2>&1
    local status=$?
    grep -E '^(not ok|#|Bail)' "$work/out" >"$work/log"
    check $status "$name: $(grep -c '^ok' "$work/out") assertions of test-quota"
    umount "$work/mnt"
}
on tmpfs size=512m ''
on btrfs loop '' mkfs.btrfs -q
on xfs loop,allocsize=4096 '' mkfs.xfs -q
on xfs loop preallocation mkfs.xfs -q
finish
