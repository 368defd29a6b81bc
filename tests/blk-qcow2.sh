#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcow2 images made by qemu-img read as qemu-img reads them; broken ones are refused by name.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io python3
format=qcow2

io() { good qemu-io -f qcow2 "$@"; }
create() { good qemu-img create -q -f qcow2 "$@"; }

# Runs of clusters, parts of clusters, zeros written and discarded.
scribble() {
    io -c 'write -P 1 0 100k' -c 'write -P 2 300k 200k' -c 'write -P 3 1000k 512' -c 'write -P 4 1500k 1m' \
       -c 'write -z 1600k 128k' -c 'write -P 5 4090k 12k' -c 'discard 2m 128k' -c 'write -P 6 7167k 1k' "$1"
}

for options in compat=0.10 compat=1.1 cluster_size=512 cluster_size=4k cluster_size=2M extended_l2=on \
               extended_l2=on,cluster_size=16k lazy_refcounts=on refcount_bits=1 refcount_bits=64 \
               preallocation=metadata preallocation=falloc compat=0.10,cluster_size=1k; do
    create -o "$options" image 7M
    scribble image
    same image "$options"
done
same image 'with threads' threads
create empty 64M
same empty 'nothing written'
create -o size=1000000 odd
io -c 'write -P 9 999000 1000' odd
same odd 'a size that is no multiple of a cluster'

head -c 3000000 /dev/urandom >data
yes 'compressible' | head -c 3000001 >>data
for type in zlib zstd; do
    qemu-img convert -q -c -f raw -O qcow2 -o compression_type=$type data packed 2>log || continue
    same packed "$type compression"
    same packed "$type compression, threads" threads
    io -c 'write -P 7 100k 100k' -c 'write -P 8 3m 5k' packed
    same packed "$type compression, written to"
done
qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=512 data packed
same packed 'compressed clusters of 512 bytes'
qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=2M data packed
same packed 'compressed clusters of 2 MiB'

mkdir below
create below/base.qcow2 4M
io -c 'write -P 17 0 2m' -c 'write -P 18 3m 1m' below/base.qcow2
create -b below/base.qcow2 -F qcow2 middle 6M
io -c 'write -P 33 1m 64k' -c 'write -z 3200k 64k' -c 'write -P 34 5m 100k' middle
create -b "$work/middle" -F qcow2 -o extended_l2=on top 8M
io -c 'write -P 49 1050k 7k' -c 'write -P 50 5500k 2m' top
same top 'a chain of three, growing upwards, relative and absolute'
create -b data -F raw -o cluster_size=4k overlay
io -c 'write -P 65 100k 10k' overlay
same overlay 'a raw backing file, shorter than a cluster at its end'
create -b below/base.qcow2 -F qcow2 small 1M
same small 'smaller than its backing file'
io -c 'write -P 1 0 64k' empty
qemu-img snapshot -c before empty
io -c 'write -P 2 0 128k' empty
same empty 'with an internal snapshot'

# The classic escape: a raw backing file whose contents say they are qcow2.
cp below/base.qcow2 looks-like-qcow2
create -b looks-like-qcow2 -F raw not-probed
same not-probed 'a raw backing file is not probed'
# Where nobody told what it is, it is not read as what it cannot be either.
untold() { # untold IMAGE BACKING FORMAT: an image that does not say its backing file's format
    create -b "$2" -F "$3" "$1"
    python3 - "$1" <<'EOF'
import struct, sys
f = open(sys.argv[1], 'r+b')
d = bytearray(f.read(65536))
i = d.index(struct.pack('>I', 0xe2792aca))
d[i:i + 4] = struct.pack('>I', 0x12345678)
f.seek(0)
f.write(d)
EOF
}
cp below/base.qcow2 below/innocent
cp below/base.qcow2 below/upper.QCOW2
head -c 1M /dev/urandom >below/bytes
untold overlay below/bytes raw
"$blk" --read-only --format=qcow2 --blk-file=overlay --print-confinement >out 2>log
check $? 'a backing file whose format is not told opens'
untold overlay below/innocent qcow2
refused overlay 'does not tell the format of its backing file "below/innocent", which looks like qcow2' \
    'but not one that looks like another format'
untold overlay below/upper.QCOW2 qcow2
same overlay 'its extension tells, in capitals too'

# ---- broken ----------------------------------------------------------------------------
patch() { patched '>' image "$@"; } # patch OFFSET TYPE VALUE
create image 7M
scribble image
patch 0 I 0x51464900; refused broken magic 'wrong magic'
patch 4 I 1; refused broken 'version other' 'version 1'
patch 4 I 4; refused broken 'version other' 'version 4'
patch 20 I 8; refused broken 'cluster size' 'clusters of 256 bytes'
patch 20 I 63; refused broken 'cluster size' 'clusters that are too large'
patch 24 Q 0xffffffffffffffff; refused broken 'disk size' 'a size that overflows'
patch 24 Q 0x0000ffffffffff00; refused broken 'L1 table size' 'a size that L1 does not cover'
patch 32 I 1; refused broken 'AES encryption in version 3' 'encryption'
patch 32 I 2; refused broken 'LUKS encryption' 'LUKS encryption'
patch 36 I 0xffffffff; refused broken 'L1 table size' 'a huge L1'
patch 40 Q 0xfffffffffffffe00; refused broken 'L1 table offset' 'L1 outside of the file'
patch 40 Q 0x10001; refused broken 'L1 table offset' 'L1 not aligned'
patch 72 Q 4; refused broken 'external data file' 'an external data file'
patch 72 Q 0x8000000000000000; refused broken 'unknown incompatible' 'an unknown feature'
patch 100 I 0xfffffff8; refused broken 'header length' 'a huge header'
patch 100 I 13; refused broken 'header length' 'a short header'
patch 8 Q 0xffffffffffffff00; refused broken 'backing file' 'the backing name outside of the header'
head -c 100 image >broken; refused broken . 'a file that ends in the header'
: >broken; refused broken 'shorter than a header' 'an empty file'
create -u -b loop -F qcow2 loop.new 1M
mv loop.new loop
refused loop 'loop' 'a backing file that is itself'
create -u -b nowhere -F qcow2 dangling 1M
refused dangling '"dangling": its backing file: cannot open "nowhere"' 'a backing file that is missing'
create -u -b nbd://host/x -F raw remote 1M
refused remote 'not a file' 'a backing file on the network'
create -u -b data -F vpc vpc 1M
refused vpc 'format "vpc"' 'a backing file of another format'

# A table that points nowhere: the read fails, nothing else.
patch $((0x30000)) Q 0x80000000ffff0000
serve --read-only --format=qcow2 --blk-file=broken
! "$dump" s ours >out 2>&1
check $? 'an L2 table outside of the file is an error of the read'
kill -0 "$pid"
check $? 'which the back-end survives'
stop

# ---- for writing ------------------------------------------------------------------------
unwritable() { refused "$@" --num-queues=1; } # unwritable IMAGE PATTERN DESCRIPTION
create image 7M
scribble image
qemu-img snapshot -c one image
patch 72 Q 2; unwritable broken 'marked as corrupt' 'the corrupt bit'
patch 96 I 7; unwritable broken 'refcount order' 'counts that are too wide'
patch 48 Q 0x10001; unwritable broken 'refcount table offset' 'refcount table not aligned'
patch 48 Q 0; unwritable broken 'refcount table' 'refcount table in the header'
patch 56 I 0; unwritable broken 'refcount table size' 'no refcount table'
patch 56 I 0xffffffff; unwritable broken 'refcount table size' 'a huge refcount table'
patch 48 Q 0x30000; unwritable broken 'overlaps' 'refcount table and L1 in one place'
patch $((0x10000)) Q 0x10000; unwritable broken 'entry of the refcount table overlaps' 'a refcount block on its table'
patch $((0x10000)) Q 0xffff0000; unwritable broken 'entry of the refcount table' 'a refcount block outside of the file'
patch $((0x30000)) Q 0x8000000000010000; unwritable broken 'overlaps' 'an L2 table on the refcount table'
patch $((0x30000)) Q 0x80000000ffff0000; unwritable broken 'entry of the L1 table' 'an L2 table outside of the file'
patch 60 I 0xffffffff; unwritable broken 'number of snapshots' 'too many snapshots'
patch 64 Q 0xffffff0000; unwritable broken 'snapshot table' 'snapshot table outside of the file'
create -o extended_l2=on image 7M
unwritable image 'extended L2' 'extended L2 entries'
finish
