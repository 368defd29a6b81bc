#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcow images of version 1 and encrypted ones, made by qemu-img, are read as it
# reads them; broken ones, and what libqcow would not read rightly, are refused.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io python3
format=qcow
"$blk" --help | grep -q secret-file || exit 99
: >empty
"$blk" --socket-path=s --read-only --format=qcow --blk-file=empty 2>&1 | grep -q 'without libqcow' &&
    { echo "1..0 # SKIP built without libqcow"; exit 77; }

printf 'sesame-and-more-than-16' >secret
printf 'sesame-and-more-\n' >secret-line # 16 bytes count, and no newline
printf 'wrong' >wrong
key=(--object "secret,id=s,file=secret")
# Runs of clusters, parts of clusters, zeros.
scribble=(-c 'write -P 1 0 100k' -c 'write -P 2 300k 200k' -c 'write -P 3 1000k 512' -c 'write -P 4 1500k 1m'
          -c 'write -z 1600k 128k' -c 'write -P 5 4090k 12k' -c 'write -P 6 7167k 1k')

good qemu-img create -q -f qcow plain 7M
good qemu-io -f qcow "${scribble[@]}" plain
same plain 'version 1'
same plain 'version 1, with threads' threads
good qemu-img create -q -f qcow empty 64M
same empty 'nothing written'
good qemu-img create -q -f qcow odd 1000448
good qemu-io -f qcow -c 'write -P 9 976k 512' odd
same odd 'a size that is no multiple of a cluster'
head -c 3000000 /dev/urandom >data
yes 'compressible' | head -c 3000001 >>data
truncate -s 6M data # whole clusters are compressed
qemu-img convert -q -c -f raw -O qcow data packed # which qemu-img 7.2 does, but fails afterwards
good qemu-img compare -f raw -F qcow data packed
same packed 'compressed'

# decrypted FORMAT IMAGE SECRET DESCRIPTION
decrypted() {
    local r=1
    serve --read-only --format="$1" --blk-file="$2" --secret-file="$3" --num-queues=2
    "$dump" s ours >>log 2>&1 && cmp ours theirs >>log 2>&1 && r=0
    stop || r=1
    check $r "$4"
}
# encrypted FORMAT OPTIONS: made, written, read by qemu-img into theirs
encrypted() {
    local source=driver=$1,encrypt.format=aes,encrypt.key-secret=s,file.filename=aes.$1
    good qemu-img create -q "${key[@]}" -f "$1" -o "${2:+$2,}encrypt.format=aes,encrypt.key-secret=s" "aes.$1" 7M
    good qemu-io "${key[@]}" "${scribble[@]}" --image-opts "$source"
    good qemu-img convert "${key[@]}" --image-opts "$source" -O raw theirs
}
encrypted qcow ''
decrypted qcow aes.qcow secret 'version 1, encrypted'
decrypted qcow aes.qcow secret-line 'the passphrase is its first 16 bytes, without a newline'
serve --read-only --format=qcow --blk-file=aes.qcow --secret-file=wrong
"$dump" s ours >>log 2>&1 && ! cmp -s ours theirs
check $? 'a wrong passphrase gives noise, as nothing in the image tells'
stop
encrypted qcow2 compat=0.10
decrypted qcow2 aes.qcow2 secret 'version 2, encrypted'
refused aes.qcow 'is encrypted.*--secret-file' 'without a passphrase'
refused plain 'is not encrypted' 'a passphrase that nothing needs' --read-only --secret-file=secret
refused aes.qcow 'passphrase from "nowhere".*No such file' 'a passphrase that is missing' --read-only --secret-file=nowhere
: >nothing
refused aes.qcow 'passphrase in "nothing" is empty' 'a passphrase of nothing' --read-only --secret-file=nothing
refused plain 'can only be read.*qemu-img convert' 'for writing' --num-queues=1

format=qcow2
refused aes.qcow2 'is encrypted.*--secret-file' 'version 2 without a passphrase'
encrypted qcow2 compat=1.1
refused aes.qcow2 'version 3.*not supported' 'version 3, whose zero clusters libqcow does not know' --read-only --secret-file=secret
good qemu-img create -q -f qcow2 image2 1M
patched '>' image2 32 I 2
refused broken 'encryption.*not supported' 'LUKS'
refused plain 'version' 'version 1 called qcow2'

# ---- broken ----------------------------------------------------------------------------
format=qcow
patch() { patched '>' plain "$@"; } # patch OFFSET TYPE VALUE
patch 0 I 0x51464900; refused broken magic 'wrong magic'
patch 4 I 2; refused broken 'have the format qcow2' 'version 2 called qcow'
patch 8 Q 80; refused broken 'backing file' 'a backing file'
patch 24 Q 0; refused broken 'size' 'no size'
patch 24 Q 0xffffffffffffff00; refused broken 'size' 'a huge size'
patch 24 Q 0x0000ffffffffff00; refused broken 'L1 table' 'a size that L1 does not cover'
patch 32 B 8; refused broken 'cluster size' 'clusters of 256 bytes'
patch 32 B 63; refused broken 'cluster size' 'clusters that are too large'
patch 33 B 63; refused broken 'L2 tables' 'tables that are too large'
patch 36 I 7; refused broken 'LUKS' 'an unknown encryption'
patch 40 Q 0xfffffffffffffe00; refused broken 'L1 table' 'L1 outside of the file'
head -c 40 plain >broken; refused broken 'shorter than a header' 'a file that ends in the header'
patch 48 Q 0xffff0000
serve --read-only --format=qcow --blk-file=broken
! "$dump" s ours >out 2>&1
check $? 'an L2 table outside of the file is an error of the read'
kill -0 "$pid"
check $? 'which the back-end survives'
stop
"$blk" --read-only --format=qcow --blk-file=aes.qcow --secret-file=secret --print-confinement >out 2>log &&
    ! grep -q -E 'failed|unsupported' out
check $? 'it is confined'
finish
