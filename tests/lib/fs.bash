# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of msb-vhost-fs share; sourced.  A directory $work of their own that goes away at the end, TAP, and
# one share at a time that is mounted on this host.
# shellcheck disable=SC2034 # set for those who source this
. "${BASH_SOURCE[0]%/*}/tap.bash"
fs=$builddir/vhost-fs/msb-vhost-fs
work=$(mktemp -d "${TMPDIR:-/var/tmp}/fs-test.XXXXXX")
pid=
stop() { # end whatever is served; its exit status
    local status
    [ -n "$pid" ] || return 0
    umount -l "$work/mnt" 2>/dev/null
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    pid=
    return $status
}
trap 'stop; rm -rf "$work"' EXIT
chmod 755 "$work"

has_user_attributes() { # has_user_attributes FILE
    python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.t", b"1"); os.removexattr(sys.argv[1], "user.t")' "$1" 2>/dev/null
}
# mount_share OPTIONS...: $work/share on $work/mnt
mount_share() {
    "$fs" --shared-dir="$work/share" --mount="$work/mnt" "$@" 2>"$work/log" &
    pid=$!
    # The mount is there when the directory is another one; its server says no more.
    for ((i = 0; i < 6000; i++)); do
        mountpoint -q "$work/mnt" && return 0
        kill -0 $pid 2>/dev/null || break
        read -rt 0.02 <> <(:) || :
    done
    return 1
}
