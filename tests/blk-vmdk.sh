#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# VMDK images: what qemu-img makes we read, what we write qemu-img reads; parents;
# descriptors and tables that are broken are refused by name, and stay in their directory.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io python3
format=vmdk
scribble=$builddir/tests/unit/blk/blk-scribble

convert() { good qemu-img convert -q -O vmdk -o "subformat=$2" "$1" "$3"; }

# written IMAGE SEED DESCRIPTION [ENGINE]: we change it and a raw copy in the same way; qemu-img sees no difference
written() {
    local r
    qemu-img convert -f vmdk -O raw "$1" model 2>log || exit 99
    serve --format=vmdk --blk-file="$1" --num-queues=2 --engine="${4:-auto}"
    "$scribble" s model "$2" 150 >>log 2>&1
    r=$?
    stop || r=1
    [ $r = 0 ] && qemu-img compare -f vmdk -F raw "$1" model >>log 2>&1 && qemu-img check -f vmdk "$1" >>log 2>&1
    r=$?
    [ $r != 63 ] || r=0 # flat ones have nothing to check
    check $r "$3"
}

head -c 3000000 /dev/urandom >data
yes 'compressible' | head -c 3000000 >>data
truncate -s 9M data
qemu-io -f raw -c 'write -P 7 8000k 300k' data >/dev/null

flat=(monolithicFlat twoGbMaxExtentFlat)
sparse=(monolithicSparse twoGbMaxExtentSparse)
for subformat in "${flat[@]}" "${sparse[@]}" streamOptimized; do
    convert data $subformat $subformat.vmdk
    same $subformat.vmdk "$subformat is read"
done
same streamOptimized.vmdk "with threads" threads
for subformat in "${flat[@]}" "${sparse[@]}"; do
    written $subformat.vmdk 1 "$subformat is written"
    written $subformat.vmdk 2 "and again" threads
    qemu-img create -q -f vmdk -o subformat=$subformat new.vmdk 20M >log 2>&1
    written new.vmdk 3 "$subformat is written from nothing"
    rm -f new*.vmdk
done
refused streamOptimized.vmdk 'can only be read' 'streamOptimized is not written' --num-queues=1

# Extents of a split image: more than 2 GiB, and a range across two of them.
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 4097M >log 2>&1
qemu-io -f vmdk -c 'write -P 1 2047M 2M' -c 'write -P 2 4096M 1M' split.vmdk >log 2>&1
same split.vmdk 'three extents'
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentFlat split.vmdk 2049M >log 2>&1
qemu-io -f vmdk -c 'write -P 1 2047M 2M' split.vmdk >log 2>&1
same split.vmdk 'two flat ones'
rm -f split*.vmdk

# ---- parents ---------------------------------------------------------------------------
mkdir below
convert data monolithicSparse below/base.vmdk
# One CID in sixteen has fewer than eight digits, as QEMU writes them.
python3 -c 'import re, sys
f = open(sys.argv[1], "r+b"); head = f.read(65536)
f.seek(re.search(rb"\nCID=[0-9a-f]{7,8}\n", head).start()); f.write(b"\nCID=1234567\n")' below/base.vmdk
qemu-img create -q -f vmdk -b below/base.vmdk -F vmdk middle.vmdk >log 2>&1
qemu-io -f vmdk -c 'write -P 33 1m 64k' -c 'write -P 34 5m 100k' middle.vmdk >log 2>&1
same middle.vmdk 'a parent'
qemu-img create -q -f vmdk -b middle.vmdk -F vmdk top.vmdk >log 2>&1
same top.vmdk 'two parents, nothing in the image itself'
written top.vmdk 4 'written on top of parents'
written top.vmdk 5 'and again' threads
qemu-img create -q -f vmdk -b streamOptimized.vmdk -F vmdk packed.vmdk >log 2>&1
written packed.vmdk 6 'written on top of a compressed parent'
cp below/base.vmdk keep
serve --format=vmdk --blk-file=below/base.vmdk --num-queues=2
qemu-img convert -f raw -O raw data model
"$scribble" s model 9 1 >log 2>&1
check $? 'a parent is written'
stop
refused middle.vmdk 'parentCID is' 'a parent that was written afterwards'
mv keep below/base.vmdk
same middle.vmdk 'and when it is back'

# ---- below qcow2 images ----------------------------------------------------------------
# over IMAGE SEED DESCRIPTION: a qcow2 image made on it is read, and written
over() {
    local r
    qemu-img create -q -f qcow2 -b "$1" -F vmdk over.qcow2 >log 2>&1 || exit 99
    qemu-img convert -f qcow2 -O raw over.qcow2 model 2>log || exit 99
    serve --format=qcow2 --blk-file=over.qcow2 --num-queues=2
    "$dump" s ours >>log 2>&1 && cmp ours model >>log 2>&1 && "$scribble" s model "$2" 150 >>log 2>&1
    r=$?
    stop || r=1
    [ $r = 0 ] && qemu-img compare -f qcow2 -F raw over.qcow2 model >>log 2>&1 && qemu-img check -f qcow2 over.qcow2 >>log 2>&1
    check $? "$3"
    rm over.qcow2
}
over below/base.vmdk 7 'qcow2 on top of a sparse VMDK'
over twoGbMaxExtentFlat.vmdk 8 'qcow2 on top of a flat VMDK'
over streamOptimized.vmdk 9 'qcow2 on top of a compressed VMDK'
over top.vmdk 10 'qcow2 on top of a chain of VMDKs'

# ---- broken ----------------------------------------------------------------------------
patch() { patched '<' "$@"; } # patch IMAGE OFFSET TYPE VALUE
base=below/base.vmdk
patch $base 0 I 0x564d4400; refused broken 'magic' 'wrong magic'
patch $base 0 I 0x44574f43; refused broken 'VMFSSPARSE' 'an extent of ESX'
patch $base 4 I 9; refused broken 'version other' 'version 9'
patch $base 8 I 0x80000003; refused broken 'unknown flags' 'unknown flags'
patch $base 12 Q 0; refused broken 'capacity' 'no capacity'
patch $base 12 Q 0x1000000000000; refused broken 'capacity' 'a huge capacity'
patch $base 20 Q 0; refused broken 'grain size' 'grains of nothing'
patch $base 20 Q 129; refused broken 'grain size' 'grains that are no power of two'
patch $base 20 Q 0x100000; refused broken 'grain size' 'grains that are too large'
patch $base 28 Q 0x7fffffff; refused broken 'descriptor' 'a descriptor outside of the file'
patch $base 36 Q 0x7fffffff; refused broken 'descriptor' 'a huge descriptor'
patch $base 44 I 0; refused broken 'entries of a grain table' 'tables without entries'
patch $base 56 Q 0; refused broken 'grain directory offset' 'no directory'
patch $base 56 Q 0x7fffffffffffffff; refused broken 'grain directory offset' 'a directory outside of the file'
patch $base 56 Q 0xffffffffffffffff; refused broken 'magic' 'a directory at the end, where none is'
patch $base 73 I 0x0a0a0a0a; refused broken 'newline' 'a file that was mangled as text'
patch streamOptimized.vmdk 77 H 7; refused broken 'compression' 'an unknown compression'
patch $base 12 Q 0x80000000; refused broken 'grain table offset' 'a directory that is too short for the capacity'
head -c 40 $base >broken; refused broken 'shorter than a header' 'a file that ends in the header'
: >broken; refused broken 'magic' 'an empty file'
gd=$(python3 -c 'import struct; f=open("below/base.vmdk","rb"); f.seek(56); print(struct.unpack("<Q",f.read(8))[0]*512)')
patch $base "$gd" I 0x7fffffff; refused broken 'grain table offset' 'a table outside of the file'
patch $base "$gd" I 0; refused broken 'without all of its grain tables' 'a table that is missing, for writing' --num-queues=1
gt=$(python3 -c 'import struct; f=open("below/base.vmdk","rb"); f.seek(56); f.seek(struct.unpack("<Q",f.read(8))[0]*512); print(struct.unpack("<I",f.read(4))[0]*512)')
patch $base "$gt" I 0x7fffffff
serve --read-only --format=vmdk --blk-file=broken
! "$dump" s ours >out 2>&1
check $? 'a grain outside of the file is an error of the read'
kill -0 "$pid"
check $? 'which the back-end survives'
stop
patch $base "$gt" I 1
serve --format=vmdk --blk-file=broken --num-queues=2
! "$dump" s ours >out 2>&1
check $? 'a grain in the place of the header is not given to the guest'
stop

descriptor() { # descriptor LINE...: a descriptor with these extents
    printf '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n' >text.vmdk
    printf '%s\n' "$@" >>text.vmdk
}
descriptor 'RW 18432 FLAT "data" 0'
same text.vmdk 'a descriptor by hand'
descriptor 'RW 2048 FLAT "data" 2048' 'RW 2048 FLAT "data" 0'
same text.vmdk 'parts of one file'
descriptor 'RW 100 ZERO' 'RW 2048 FLAT "data" 1024' # qemu-img leaves zeros out
(head -c 51200 /dev/zero; tail -c +524289 data | head -c 1048576) >theirs
serve --read-only --format=vmdk --blk-file=text.vmdk
"$dump" s ours >>log 2>&1 && cmp ours theirs >>log 2>&1
check $? 'an extent of zeros'
stop
descriptor 'RW 18432 FLAT "../data" 0'; refused text.vmdk "own directory" 'an extent in the directory above'
descriptor 'RW 18432 FLAT "/etc/passwd" 0'; refused text.vmdk "own directory" 'an absolute one'
descriptor 'RW 18432 FLAT ".." 0'; refused text.vmdk "own directory" 'a directory'
descriptor 'RW 1 FLAT "text.vmdk" 0'; refused text.vmdk "used twice" 'the descriptor itself'
descriptor 'RW 18433 FLAT "data" 0'; refused text.vmdk 'longer than its file' 'a flat extent that is too short'
descriptor 'RW 18432 FLAT "data" 99999999999999999999'; refused text.vmdk 'offset of a flat' 'an offset that is too large'
descriptor 'RW 0 FLAT "data" 0'; refused text.vmdk 'size of an extent' 'an extent of nothing'
descriptor 'RW 18432 FLAT data 0'; refused text.vmdk 'file name' 'a name without quotes'
descriptor 'RW 18432 FLAT "data'; refused text.vmdk 'file name' 'a name without an end'
descriptor 'RW 18432 SESPARSE "data"'; refused text.vmdk 'SESPARSE' 'an extent of another type'
descriptor 'NOACCESS 18432 FLAT "data" 0'; refused text.vmdk 'NOACCESS' 'an extent that must not be read'
descriptor 'RDONLY 18432 FLAT "data" 0'; refused text.vmdk 'only be read' 'one that must not be written' --num-queues=1
descriptor; refused text.vmdk 'no extents' 'no extents'
descriptor 'RW 18432 FLAT "missing" 0'; refused text.vmdk 'cannot open "missing"' 'a file that is missing'
for ((i = 0; i < 300; i++)); do echo 'RW 1 FLAT "data" 0'; done >lines
descriptor "$(cat lines)"; refused text.vmdk 'more than 256' 'too many extents'
descriptor 'RW 18432 FLAT "data" 0'
sed -i 's/parentCID=.*/parentCID=12345678\nparentFileNameHint="text.vmdk"/' text.vmdk
refused text.vmdk 'loop' 'a parent that is itself'
sed -i '/Hint/d' text.vmdk; refused text.vmdk 'Hint is missing' 'a parent without a name'
sed -i 's/parentCID=.*/parentCID=xyz/' text.vmdk; refused text.vmdk 'parentCID' 'a CID that is no number'
descriptor "$(head -c 70000 /dev/zero | tr '\0' '#')"; refused text.vmdk 'size or place' 'a huge descriptor'

# ---- locks, confinement ------------------------------------------------------------------
serve --format=vmdk --blk-file=twoGbMaxExtentFlat.vmdk
! qemu-io -f raw -c 'write 0 512' twoGbMaxExtentFlat-f001.vmdk >log 2>&1
check $? 'the files of extents are locked too'
stop
"$blk" --read-only --format=vmdk --blk-file=top.vmdk --print-confinement >out 2>log && ! grep -q -E 'failed|unsupported' out
check $? 'it is confined with all of its files'
finish
