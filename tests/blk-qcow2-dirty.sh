#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images with lazy refcounts whose QEMU was killed: opened for writing they are repaired, and qemu-img agrees.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io python3
format=qcow2
random=$builddir/tests/unit/blk/blk-random
io() { good qemu-io -f qcow2 "$@"; }
create() { good qemu-img create -q -f qcow2 "$@"; }
dirty_flag() { qemu-img info -U --output=json "$1" | grep -o '"dirty-flag": [a-z]*'; }

# killed IMAGE COMMAND...: these of qemu-io, which does not live to write its counts
killed() {
    local image=$1
    shift
    qemu-io -f qcow2 "${@/#/-c}" -c 'sigraise 9' "$image" >log 2>&1
    [ "$(dirty_flag "$image")" = '"dirty-flag": true' ]
    check $? "killed with $image open: it is dirty"
}
# repaired IMAGE DESCRIPTION: opened and closed, then written at random
seed=0
repaired() {
    seed=$((seed + 1))
    rm -f model
    qemu-img convert -f qcow2 -O raw "$1" model 2>log && truncate -s %512 model
    cp "$1" once
    { "$random" once model $seed 0 threads 1 && qemu-img check -f qcow2 once && ! qemu-img check -f qcow2 once | grep -i leak &&
        [ "$(dirty_flag once)" = '"dirty-flag": false' ] && qemu-img compare -f qcow2 -F raw once model; } >>log 2>&1
    check $? "$2: is repaired"
    { "$random" "$1" model $seed 301 threads 1 && qemu-img check -f qcow2 "$1" && qemu-img compare -f qcow2 -F raw "$1" model; } >>log 2>&1
    check $? "$2: and written"
}

for options in cluster_size=512 cluster_size=4k cluster_size=64k cluster_size=2M refcount_bits=8 refcount_bits=64; do
    create -o "compat=1.1,lazy_refcounts=on,$options" image 12M
    killed image 'write -P 1 0 300k' 'write -P 2 5M 2M' 'write -z 1M 512k' 'discard 5M 512k' 'write -P 3 11M 3k'
    repaired image "$options"
done

# By the program itself, confined: nothing is written before.
create -o lazy_refcounts=on image 12M
killed image 'write -P 1 0 300k'
cp image once
"$blk" --print-confinement --format=qcow2 --blk-file=once >log 2>&1 && cmp image once >>log 2>&1
check $? 'a dirty image is as it was until the process is confined'
serve --format=qcow2 --blk-file=once
stop && qemu-img check -f qcow2 once >>log 2>&1 && [ "$(dirty_flag once)" = '"dirty-flag": false' ] && qemu-img compare once image >>log 2>&1
check $? 'the confined program repairs it'

# More blocks of counts than there were, and a larger table.
create -o lazy_refcounts=on,cluster_size=512,refcount_bits=64 image 12M
killed image 'write -P 7 0 9M'
repaired image 'counts that need more room'

create -o lazy_refcounts=on,cluster_size=4k image 6M
io -c 'write -P 1 0 2m' image
qemu-img snapshot -c one image
io -c 'write -P 2 1m 2m' image
qemu-img snapshot -c two image
qemu-img convert -f qcow2 -l snapshot.name=one -O raw image before
killed image 'write -P 3 0 100k' 'discard 1m 512k' 'write -P 4 4m 1m'
repaired image 'with snapshots'
qemu-img convert -f qcow2 -l snapshot.name=one -O raw image after && cmp before after >log 2>&1
check $? 'which are as they were'
qemu-img snapshot -d one image >log 2>&1 && qemu-img check -f qcow2 image >>log 2>&1
check $? 'and can be deleted'

yes 'compressible' | head -c 3000001 >data
qemu-img convert -c -f raw -O qcow2 -o lazy_refcounts=on,cluster_size=4k data packed
killed packed 'write -P 1 100k 300k' 'write -P 2 1m 100k'
repaired packed 'with compressed clusters'

create base 6M
io -c 'write -P 9 0 5m' base
create -o lazy_refcounts=on -b base -F qcow2 top
killed top 'write -P 1 1m 70k' 'write -z 2m 128k'
repaired top 'over a backing file'

# ---- worse than QEMU leaves it ------------------------------------------------------------
set_bytes() { # set_bytes FILE OFFSET COUNT BYTE
    python3 -c 'import sys
name, offset, count, byte = sys.argv[1:]
f = open(name, "r+b"); f.seek(int(offset, 0)); f.write(bytes([int(byte)]) * int(count, 0))' "$@"
}
number() { # number OFFSET: 8 bytes of image
    python3 -c 'import struct, sys
f = open("image", "rb"); f.seek(int(sys.argv[1], 0)); print(struct.unpack(">Q", f.read(8))[0])' "$1"
}
create -o lazy_refcounts=on image 6M
io -c 'write -P 5 0 2m' -c 'write -P 6 4m 1m' image
set_bytes image 79 1 1
for byte in 0 1 255; do
    cp image counts
    set_bytes counts "$(number "$(number 48)")" 65536 $byte
    repaired counts "every count has bytes of $byte"
done
l2=$(($(number "$(number 40)") & 0x00fffffffffffe00))
cp image broken
set_bytes broken $((l2 + 6)) 1 2
refused broken 'not a usable qcow2 image: entry of an L2 table' 'an entry that is none is not repaired' --num-queues=1
cp image broken
set_bytes broken $((l2 + 1)) 1 255
refused broken 'not a usable qcow2 image: entry of an L2 table' 'nor one that leads out of the file' --num-queues=1
[ "$(dirty_flag broken)" = '"dirty-flag": true' ]
check $? 'and the image stays dirty'
cp image broken
set_bytes broken "$((l2 + 8))" 8 0
good dd if=image of=broken bs=1 skip="$l2" seek=$((l2 + 8)) count=8 conv=notrunc status=none
{ : >model && qemu-img convert -f qcow2 -O raw broken model && "$random" broken model 1 200 threads 1 &&
    qemu-img check -f qcow2 broken && qemu-img compare -f qcow2 -F raw broken model; } >log 2>&1
check $? 'two entries for one cluster count as two'
cp image broken
serve --read-only --format=qcow2 --blk-file=broken
"$dump" s ours >log 2>&1 && qemu-img convert -f qcow2 -O raw broken theirs && cmp ours theirs
check $? 'a dirty image that is only read is read as it is'
stop
cmp image broken >log 2>&1
check $? 'and not changed'
finish
