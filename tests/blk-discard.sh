#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What discard, write-zeroes and writing zeros free in raw, qcow2 and VMDK images, and what is read afterwards.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
requires qemu-img qemu-io
do=$builddir/tests/unit/blk/blk-do
m=$((1 << 20))

# on FORMAT IMAGE OPERATION...: carried out, then the back-end ends; options of the back-end in $options
options=()
on() {
    local r=0
    serve --format="$1" --blk-file="$2" ${options[@]+"${options[@]}"}
    "$do" s "${@:3}" >>log 2>&1 || r=1
    stop || r=1
    [ "$1" = raw ] || qemu-img check -f "$1" "$2" >>log 2>&1 || r=1
    return $r
}
blocks() { stat -c %b "$1"; }
clusters() { qemu-img check -f qcow2 --output=json "$1" | grep -o '"allocated-clusters": [0-9]*' | tr -dc 0-9; }
# frees FORMAT IMAGE OPERATION DESCRIPTION: of 8 MiB of data the host gets about 2 back; the range reads as zeros, the rest as it was
frees() {
    local before r=0
    before=$(blocks "$measured")
    on "$1" "$2" "$3:$((2 * m)):$((2 * m))" flush "is:0:$((2 * m)):7" "is:$((2 * m)):$((2 * m)):0" "is:$((4 * m)):$((4 * m)):7" || r=1
    [ "$(blocks "$measured")" -le $((before - 4096 + 256)) ] || { r=1; echo "$before blocks before, $(blocks "$measured") after" >>log; }
    check $r "$4"
}
keeps() {
    local before r=0
    before=$(blocks "$measured")
    on "$1" "$2" "$3:$((2 * m)):$((2 * m))" flush "is:0:$((2 * m)):7" "is:$((2 * m)):$((2 * m)):${5:-0}" "is:$((4 * m)):$((4 * m)):7" || r=1
    [ "$(blocks "$measured")" -ge $((before - 256)) ] || { r=1; echo "$before blocks before, $(blocks "$measured") after" >>log; }
    check $r "$4"
}
full() { # full FORMAT IMAGE OPTIONS: 16 MiB, the first 8 of them data
    rm -f "$2"
    good qemu-img create -q -f "$1" ${3:+-o "$3"} "$2" 16M
    good qemu-io -f "$1" -c 'write -P 7 0 8M' "$2"
}

truncate -s 1M punch && head -c 1M /dev/urandom >punch && fallocate -p -l 1M punch 2>log && [ "$(blocks punch)" = 0 ] ||
    { echo '1..0 # SKIP the file system here cannot free parts of files'; exit 77; }

# ---- host blocks, in every format --------------------------------------------------------
for spec in raw qcow2: qcow2:compat=0.10 qcow2:cluster_size=4k qcow2:cluster_size=2M qcow2:lazy_refcounts=on,refcount_bits=1 \
            vmdk:subformat=monolithicSparse vmdk:subformat=monolithicFlat; do
    format=${spec%%:*} options=()
    image=image.$format
    case $spec in
    *monolithicFlat) measured='image-flat.vmdk' ;;
    *) measured=$image ;;
    esac
    for op in discard unmap zero write off; do
        full "$format" "$image" "$( [ "$format" = "${spec#*:}" ] || echo "${spec#*:}")"
        case $op in
        discard | unmap) frees "$format" "$image" $op "$spec: $op frees" ;;
        zero) keeps "$format" "$image" zero "$spec: zeros that may not be unmapped keep their place" ;;
        write)
            options=(--detect-zeroes=unmap)
            frees "$format" "$image" write "$spec: zeros that are detected free"
            options=()
            ;;
        off)
            options=(--discard=off)
            keeps "$format" "$image" unmap "$spec: --discard=off keeps"
            options=()
            ;;
        esac
    done
done

# ---- clusters -----------------------------------------------------------------------------
format=qcow2
full qcow2 image
before=$(clusters image)
on qcow2 image "discard:$m:$((4 * m))" flush && [ "$(clusters image)" = $((before - 64)) ]
check $? 'the clusters of 4 MiB are free in the image'
on qcow2 image "write:$((8 * m)):$((4 * m)):9" flush && [ "$(clusters image)" = "$before" ] && [ "$(stat -c %s image)" -lt $((10 * m)) ]
check $? 'and are used again before the file grows'
on qcow2 image "discard:$((m + 512)):$((65536 - 512))" "discard:$((8 * m + 1024)):512" "is:$((8 * m)):1024:9" "is:$((8 * m + 1536)):4096:9" &&
    [ "$(clusters image)" = "$before" ]
check $? 'a part of a cluster does not free it'
on qcow2 image "write:$((9 * m)):65536:0" "is:$((9 * m)):65536:0" && [ "$(clusters image)" = "$before" ]
check $? 'zeros that are written are clusters'
options=(--detect-zeroes=on)
on qcow2 image "write:$((12 * m)):$((2 * m)):0" "is:$((12 * m)):$((2 * m)):0" && [ "$(clusters image)" = "$before" ]
check $? 'those that are detected where nothing was are none'
options=()

# Below is something else: what was discarded or zeroed must not show it.
full qcow2 base
for compat in 1.1 0.10; do
    rm -f top
    good qemu-img create -q -f qcow2 -o compat=$compat -b base -F qcow2 top
    good qemu-io -f qcow2 -c 'write -P 8 0 4M' top
    before=$(clusters top)
    on qcow2 top "unmap:$m:$m" "zero:$((6 * m)):$m" flush "is:0:$m:8" "is:$m:$m:0" "is:$((2 * m)):$((2 * m)):8" "is:$((6 * m)):$m:0" \
        "is:$((7 * m)):$m:7"
    check $? "over a backing file, compat=$compat: zeros are zeros"
    [ $compat = 0.10 ] || [ "$(clusters top)" = $((before - 16)) ]
    check $? "and take no place if the version can tell of them"
done
on qcow2 top "discard:0:$m" flush
rm -f top
good qemu-img create -q -f qcow2 -b base -F qcow2 top
good qemu-io -f qcow2 -c 'write -P 8 0 4M' top
on qcow2 top "discard:$m:$m" flush "is:$m:$m:0"
check $? 'what was discarded does not show what is below'

good qemu-img convert -c -f qcow2 -O qcow2 base packed
before=$(blocks packed)
on qcow2 packed "discard:0:$((4 * m))" flush "is:0:$((4 * m)):0" "is:$((4 * m)):$((4 * m)):7"
check $? 'compressed clusters are discarded'

full qcow2 image
good qemu-img snapshot -c one image
before=$(clusters image)
on qcow2 image "discard:0:$((4 * m))" flush "is:0:$((4 * m)):0" && qemu-img convert -f qcow2 -l snapshot.name=one -O raw image theirs &&
    qemu-img convert -f qcow2 -O raw base ours && cmp ours theirs >>log
check $? 'a snapshot keeps what was discarded'

# ---- a block device whose blocks are larger than the guest's sectors ---------------------------
format=raw
truncate -s 16M disk
if loop=$(losetup -f --show -b 4096 disk 2>log); then
    on raw "$loop" "write:0:$m:7" flush "zero:512:512" "unmap:9728:1024" "zero:$((16384 + 512)):8192" "discard:32768:512" \
        "is:0:512:7" is:512:512:0 is:1024:8704:7 is:9728:1024:0 "is:10752:$((16384 + 512 - 10752)):7" "is:$((16384 + 512)):8192:0" \
        "is:$((24576 + 512)):$((32768 - 24576 - 512)):7" "is:33280:$((m - 33280)):7"
    check $? 'parts of the blocks of a device are zeroed, and only those'
    on raw "$loop" "unmap:65536:65536" "is:65536:65536:0" "discard:131072:4096" "is:135168:4096:7"
    check $? 'and whole ones'
    losetup -d "$loop"
else
    skip 'parts of the blocks of a device are zeroed, and only those' 'no loop device'
    skip 'and whole ones' 'no loop device'
fi

# ---- VMDK: zeroed grains over a parent -------------------------------------------------------
format=vmdk
full vmdk parent.vmdk subformat=monolithicSparse
good qemu-img create -q -f vmdk -b parent.vmdk -F vmdk -o subformat=monolithicSparse child.vmdk
on vmdk child.vmdk "unmap:$m:$m" "zero:$((4 * m)):$m" flush "is:0:$m:7" "is:$m:$m:0" "is:$((2 * m)):$((2 * m)):7" "is:$((4 * m)):$m:0"
check $? 'VMDK: zeros over a parent are zeros'
on vmdk child.vmdk "discard:$m:$((2 * m))" flush "is:$m:$m:0" "is:$((5 * m)):$((3 * m)):7"
check $? 'and stay so when they are discarded'
finish
