#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images made by qemu-img in many ways are written by us at random; afterwards qemu-img finds nothing
# wrong with them, and reads what a model says they have.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io python3
format=qcow2
random=$builddir/tests/unit/blk/blk-random
ops=600
[ -z "${MSB_TEST_LONG:-}" ] || ops=20000

io() { good qemu-io -f qcow2 "$@"; }
create() { good qemu-img create -q -f qcow2 "$@"; }

seed=0
# exercise IMAGE DESCRIPTION [ENGINE [THREADS]]
exercise() {
    seed=$((seed + 1))
    rm -f model
    qemu-img convert -f qcow2 -O raw "$1" model 2>log || { check 1 "$2"; return; }
    truncate -s %512 model
    # An odd number of operations means that changed tables are written at once.
    "$random" "$1" model $seed $((ops + seed % 2)) "${3:-threads}" "${4:-1}" >log 2>&1
    case $? in
        0) ;;
        77) skip "$2" 'no io_uring'; return ;;
        *) check 1 "$2"; return ;;
    esac
    qemu-img check -f qcow2 "$1" >>log 2>&1 && qemu-img compare -f qcow2 -F raw "$1" model >>log 2>&1
    check $? "$2"
}
# A few clusters of data, zeros and holes to begin with.
scribble() {
    io -c 'write -P 1 0 100k' -c 'write -P 2 300k 200k' -c 'write -P 4 1500k 1m' -c 'write -z 1600k 128k' \
       -c 'discard 2m 128k' -c 'write -P 6 5167k 1k' "$1"
}

for options in compat=0.10 compat=1.1 cluster_size=512 cluster_size=4k cluster_size=2M lazy_refcounts=on \
               refcount_bits=1 refcount_bits=8 refcount_bits=64 preallocation=metadata preallocation=falloc \
               preallocation=full compat=0.10,cluster_size=1k cluster_size=512,refcount_bits=64; do
    create -o "$options" image 6M
    scribble image
    exercise image "$options"
done
create image 6M
exercise image 'empty' io_uring
create -o cluster_size=64k image 6M
exercise image 'several threads' threads 4
create -o cluster_size=4k image 6M
scribble image
exercise image 'several threads, io_uring' io_uring 3
create -o size=1000000 image
exercise image 'a size that is no multiple of a cluster'

yes 'compressible' | head -c 3000001 >data
head -c 1000000 /dev/urandom >>data
for type in zlib zstd; do
    qemu-img convert -q -c -f raw -O qcow2 -o compression_type=$type data packed 2>log || continue
    exercise packed "$type compression"
done
qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=4k data packed
exercise packed 'compressed clusters of 4 KiB, several threads' threads 4

create base.qcow2 4M
io -c 'write -P 17 0 2m' -c 'write -P 18 3m 1m' base.qcow2
for options in compat=1.1 compat=0.10 cluster_size=4k; do
    create -b base.qcow2 -F qcow2 -o $options top 6M
    exercise top "over a backing file, $options"
done
create -b data -F raw -o cluster_size=16k top
exercise top 'over a raw backing file, several threads' io_uring 2

for options in compat=1.1 compat=0.10 cluster_size=4k; do
    create -o $options image 6M
    scribble image
    qemu-img snapshot -c first image
    qemu-img convert -f qcow2 -l snapshot.name=first -O raw image before
    exercise image "with a snapshot, $options"
    qemu-img snapshot -c second image
    exercise image "with two snapshots, $options" threads 2
    qemu-img convert -f qcow2 -l snapshot.name=first -O raw image after && cmp before after >log 2>&1
    check $? 'the snapshot is as it was'
    qemu-img snapshot -d second image && qemu-img check -f qcow2 image >log 2>&1
    check $? 'a snapshot can be deleted'
done
finish
