#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcow2 images that become larger: qemu-img agrees, what was there is there, and the rest is zeros.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io
format=qcow2
random=$builddir/tests/unit/blk/blk-random
create() { good qemu-img create -q -f qcow2 "$@"; }
io() { good qemu-io -f qcow2 "$@"; }
grow() { "$blk" --format="${3:-qcow2}" --blk-file="$1" --grow="$2" >out 2>log; }
size() { qemu-img info --output=json "$1" | sed -n 's/^ *"virtual-size": \([0-9]*\).*/\1/p' | tail -n 1; }

# grows IMAGE [+]SIZE BYTES DESCRIPTION: then it has so many; it is written at random afterwards
seed=0
grows() {
    seed=$((seed + 1))
    qemu-img convert -f qcow2 -O raw "$1" model 2>log && truncate -s "$3" model
    { grow "$1" "$2" && [ "$(cat out)" = "$3" ] && [ "$(size "$1")" = "$3" ] && qemu-img check -f qcow2 "$1" &&
        ! qemu-img check -f qcow2 "$1" | grep -i leak && qemu-img compare -f qcow2 -F raw "$1" model; } >>log 2>&1
    check $? "$4"
    { "$random" "$1" model $seed 300 threads 1 && qemu-img check -f qcow2 "$1" && qemu-img compare -f qcow2 -F raw "$1" model; } >>log 2>&1
    check $? "$4: and is written to its end"
}
# no_growth IMAGE SIZE PATTERN DESCRIPTION [FORMAT]: and the image is as it was
no_growth() {
    cp "$1" before
    grow "$1" "$2" "${5:-qcow2}"
    [ $? = 1 ] && grep -q -- "$3" log && cmp -s "$1" before
    check $? "$4"
}

for options in compat=0.10 compat=0.10,cluster_size=512 cluster_size=512 cluster_size=4k,refcount_bits=1 cluster_size=2M \
    lazy_refcounts=on,refcount_bits=64,cluster_size=1k preallocation=metadata; do
    create -o "$options" image 3M
    io -c 'write -P 1 0 300k' -c 'write -P 2 2M 1M' image
    grows image $((4 << 20)) $((4 << 20)) "$options: by a little"
    grows image +$((20 << 20)) $((24 << 20)) "$options: and by more"
done

# An L1 table that is larger than what one block of counts covers, and a larger table of counts for that.
create -o cluster_size=512,refcount_bits=64 image 1M
io -c 'write -P 1 0 1M' image
{ grow image $((600 << 20)) && qemu-img check -f qcow2 image && ! qemu-img check -f qcow2 image | grep -i leak &&
    qemu-io -f qcow2 -c 'read -P 1 0 1M' -c 'read -P 0 1M 599M' -c 'write -P 2 599M 1M' -c 'read -P 2 599M 1M' image &&
    qemu-img check -f qcow2 image; } >>log 2>&1
check $? 'a large L1 table of small clusters'

create image 3000832
grow image $((3 << 20)) && [ "$(size image)" = $((3 << 20)) ]
check $? 'from within a cluster'
grow image $((3 << 20)) && [ "$(cat out)" = $((3 << 20)) ]
check $? 'the size it has is no error'

create base 2M
io -c 'write -P 9 0 2M' base
create -b base -F qcow2 image
io -c 'write -P 1 1M 64k' image
grows image $((5 << 20)) $((5 << 20)) 'over a backing file'
create -b base -F qcow2 image 1M
no_growth image $((5 << 20)) 'smaller than its backing file' 'not over one whose end would come to light'

create -o cluster_size=1k image 3M
io -c 'write -P 1 0 2M' image
good qemu-img snapshot -c one image
qemu-img convert -f qcow2 -l snapshot.name=one -O raw image before
io -c 'write -P 2 1M 1M' image
grows image $((9 << 20)) $((9 << 20)) 'with a snapshot'
qemu-img convert -f qcow2 -l snapshot.name=one -O raw image after && cmp -n $((3 << 20)) before after >log 2>&1
check $? 'which has what it had'
qemu-img snapshot -a one image >log 2>&1 && [ "$(size image)" = $((3 << 20)) ] && qemu-img check -f qcow2 image >>log 2>&1
check $? 'and can be gone back to'
create -o compat=0.10 image 3M
good qemu-img snapshot -c one image
no_growth image $((9 << 20)) 'do not say how large.*snapshot -d' 'version 2 with a snapshot is refused'

create image 3M
no_growth image $((2 << 20)) 'has 3145728 bytes and cannot become smaller' 'not smaller'
no_growth image $((1 << 62)) 'cannot become so large' 'nor larger than QEMU would take'
for bad in x -1 +x 1M ''; do
    no_growth image "$bad" 'is no size' "'$bad' is no size"
done
patched '>' image 79 B 2
no_growth broken $((9 << 20)) 'marked as corrupt' 'nor one that is damaged'
cp image broken
patched '>' image 79 B 1
grow broken $((9 << 20)) && qemu-img check -f qcow2 broken >>log 2>&1 && [ "$(size broken)" = $((9 << 20)) ]
check $? 'one that was not closed is repaired first'
good qemu-img create -q -f vmdk image.vmdk 3M
no_growth image.vmdk $((9 << 20)) 'qemu-img convert' 'a VMDK is refused, with what to do' vmdk
truncate -s 1000000 image.raw
grow image.raw +1000000 raw && [ "$(stat -c %s image.raw)" = 2000896 ]
check $? 'a raw file grows by whole sectors, from whole sectors'
serve --format=qcow2 --blk-file=image
no_growth image $((9 << 20)) 'in use' 'one that is served is for its server to make larger'
stop
finish
