# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of msb-vhost-blk share; sourced.  A directory of their own that
# goes away at the end, TAP, and one back-end at a time on the socket s.
set -u
builddir=${abs_top_builddir:-$PWD}
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
blk=$builddir/vhost-blk/msb-vhost-blk
dump=$builddir/tests/unit/blk/blk-dump
work=$(mktemp -d "$PWD/blk-test.XXXXXX")
pid=
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null
    wait
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 99

count=0
failed=0
check() { # check STATUS DESCRIPTION
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failed=$((failed + 1))
        sed 's/^/# /' log 2>/dev/null
    fi
}
skip() { # skip DESCRIPTION REASON
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}
# serve ARGS...: start the back-end and wait until it listens
serve() {
    rm -f s
    coproc READY { exec 3>&1; exec "$blk" --socket-path=s --ready-fd=3 --reconnect "$@" 2>log; }
    pid=$READY_PID
    read -rt 20 -u "${READY[0]}" _
}
stop() { # its exit status
    local status
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    pid=
    return $status
}
finish() {
    echo "1..$count"
    [ $failed = 0 ]
}
