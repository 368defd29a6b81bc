#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The host's file system has no room: the guest gets an error for what cannot be written and for nothing else, and
# when there is room again everything goes on.
if [ -z "${inside:-}" ]; then
    inside=1 unshare --mount --user --map-root-user sh -c 'mount -t tmpfs none /mnt' 2>/dev/null ||
        { echo '1..0 # SKIP file systems cannot be mounted here'; exit 0; }
    inside=1 exec unshare --mount --user --map-root-user bash "$0" "$@"
fi
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io python3
do=$builddir/tests/unit/blk/blk-do
m=$((1 << 20))
mkdir full && mount -t tmpfs -o size=8m none full || exit 99
trap 'umount -l "$work/full"; cleanup' EXIT

# The back-end with a journal, as a sandbox has it.
real=$blk
cat >with-journal <<END
#!/usr/bin/env python3
import os, resource, sys
if "LIMIT" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LIMIT"]),) * 2)
fd = os.memfd_create("journal", os.MFD_ALLOW_SEALING)
os.set_inheritable(fd, True)
os.execv("$real", ["$real", "--journal-fd=%d" % fd] + sys.argv[1:])
END
chmod +x with-journal

# runs_out FORMAT OPTIONS FILLER [BACKING]
runs_out() {
    local format=$1 image=full/image.$1 what="$1 ${2:-} $3 ${4:+over a backing file}${journal:+ with a journal}" done=0 below=0
    rm -f full/*
    good qemu-img create -q -f "$format" ${2:+-o "$2"} ${4:+-b "$4" -F "$format"} "$image" 64M
    [ -z "${4:-}" ] || below=17
    head -c "$3" /dev/zero >full/filler
    serve --format="$format" --blk-file="$image"
    "$do" s "write:0:65536:1" flush 2>>log
    check $? "$what: there is room for a little"
    while [ $done -lt 8 ] && "$do" s "write:$(((1 + done) * m)):$m:170" 2>>log; do done=$((done + 1)); done
    [ $done -lt 8 ]
    check $? "$what: not for all"
    [ "$(grep -c 'msb-vhost-blk: .*image.*failed: No space left on device' log)" = 1 ]
    check $? "$what: of which the log tells, once"
    "$do" s flush 2>>log
    rm full/filler
    "$do" s flush "is:0:65536:1" "is:$m:$((done * m)):170" 2>>log
    check $? "$what: with room again a flush succeeds, and what was told to be written is there"
    "$do" s "write:$((20 * m)):512:5" flush "is:$((20 * m)):512:5" "is:$((20 * m + 512)):$((m - 512)):$below" \
        "is:$((40 * m)):$((24 * m)):$below" 2>>log
    check $? "$what: what is written next changes nothing beside it"
    stop
    check $? "$what: it ends in order"
    qemu-img check -f "$format" "$image" 2>&1 | tail -n 3 >>log && [ "${PIPESTATUS[0]}" = 0 ] &&
        qemu-io -f "$format" -r -c 'read -P 1 0 64k' -c "read -P 170 1M ${done}M" -c "read -P 5 20M 512" \
            -c "read -P $below $((20 * m + 512)) $((m - 512))" "$image" >>log 2>&1 && ! grep -q verification log
    check $? "$what: and the image is whole"
}

for journal in '' yes; do
    [ -z "$journal" ] || blk=$PWD/with-journal
    for spec in cluster_size=64k:4M cluster_size=4k:4M cluster_size=4k:5M cluster_size=512,refcount_bits=64:4M lazy_refcounts=on,cluster_size=4k:7000k; do
        runs_out qcow2 "${spec%:*}" "${spec##*:}"
    done
    good qemu-img create -q -f qcow2 base.qcow2 64M
    good qemu-io -f qcow2 -c 'write -P 17 0 64M' base.qcow2
    runs_out qcow2 cluster_size=4k 4M "$work/base.qcow2"
done

# A file that cannot become larger than this: only what is behind that fails.
good qemu-img create -q -f qcow2 limited 64M
export LIMIT=$((8 * m))
serve --format=qcow2 --blk-file=limited
unset LIMIT
"$do" s "write:0:$((2 * m)):7" flush "write:$((2 * m)):$((2 * m)):7" flush 2>>log
check $? 'a flush does not need room ahead'
done=4
while [ $done -lt 9 ] && "$do" s "write:$((done * m)):$m:7" flush 2>>log; do done=$((done + 1)); done
[ $done = 7 ]
check $? 'all of the file can be used'
"$do" s flush "is:0:$((done * m)):7" 2>>log
check $? 'and what is in it is there'
stop && qemu-img check -f qcow2 limited >>log 2>&1
check $? 'and the image is whole'

blk=$real journal=
runs_out vmdk subformat=monolithicSparse 4M
good qemu-img convert -f qcow2 -O vmdk -o subformat=monolithicSparse base.qcow2 base.vmdk
runs_out vmdk subformat=monolithicSparse 4M "$work/base.vmdk"
finish
