# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of msb-vhost-blk share; sourced.  A directory of their own that
# goes away at the end, TAP, and one back-end at a time on the socket s.
# shellcheck disable=SC2034 # set for those who source this
. "${BASH_SOURCE[0]%/*}/tap.bash"
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
. "${BASH_SOURCE[0]%/*}/tap.bash"
cd "$work" || exit 99

# serve ARGS...: start the back-end and wait until it listens
serve() {
    rm -f s
    coproc READY { exec 3>&1; exec "$blk" --socket-path=s --ready-fd=3 --reconnect "$@" 2>log; }
    pid=$READY_PID
    read -rt 120 -u "${READY[0]}" _
}
stop() { # its exit status
    local status
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    pid=
    return $status
}

# ---- for images of one $format ---------------------------------------------------------
# good COMMAND...: one that prepares a test
good() { "$@" >log 2>&1 || { sed 's/^/# /' log; exit 99; }; }
# same IMAGE DESCRIPTION [ENGINE]: we read what qemu-img reads
same() {
    local r=1
    rm -f ours theirs
    serve --read-only --format="$format" --blk-file="$1" --engine="${3:-auto}"
    if "$dump" s ours >>log 2>&1; then
        qemu-img convert -f "$format" -O raw "$1" theirs 2>>log && cmp ours theirs >>log 2>&1
        r=$?
    fi
    # Its end has to be an orderly one too: freeing is under the system call filter.
    stop || r=1
    check $r "$2"
}
# refused IMAGE PATTERN DESCRIPTION [OPTION...]: with these options (default: --read-only) it is refused in these words
refused() {
    local image=$1 pattern=$2 description=$3 status
    shift 3
    [ $# -gt 0 ] || set -- --read-only
    timeout 120 "$blk" --socket-path=s --format="$format" --blk-file="$image" "$@" >out 2>log
    status=$?
    [ $status = 1 ] && grep -q -- "$pattern" log
    check $? "$description"
}
# patched ORDER IMAGE OFFSET TYPE VALUE: a copy named broken with a number of a struct.pack() type changed; ORDER < or >
patched() {
    cp "$2" broken
    python3 -c 'import struct, sys
order, offset, type, value = sys.argv[1:]
f = open("broken", "r+b"); f.seek(int(offset)); f.write(struct.pack(order + type, int(value, 0)))' "$1" "${@:3}"
}
