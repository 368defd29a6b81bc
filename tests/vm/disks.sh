#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Disk images: mounted beside a root, each kind of file system, whole or in a
# partition, read-only and writable; as the root itself; and who may share what.
. "$(dirname "$0")/lib.bash"
PATH=$PATH:/usr/sbin:/sbin

mkdir "$tmp/d"
cd "$tmp/d" || exit 99
quiet() { "$@" >"$tmp/log" 2>&1 || { diag "failed: $*"; diag "$(cat "$tmp/log")"; exit 99; }; }
make_ext4() { # make_ext4 FILE SIZE [DIRECTORY]
    truncate -s "$2" "$1"
    quiet mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 ${3:+-d "$3"} "$1"
}

mkdir tree
echo from-the-host >tree/file
make_ext4 bare.img 64M tree
quiet mksquashfs tree squash.img -quiet -no-progress
quiet mkfs.erofs erofs.img tree
truncate -s 320M xfs.part
quiet mkfs.xfs -q xfs.part
printf 'label: gpt\nstart=2048,size=2048,type=U\nstart=4096,size=655360\n' >table
truncate -s 324M gpt.raw
quiet sfdisk -q gpt.raw <table
quiet dd if=xfs.part of=gpt.raw bs=1M seek=2 conv=notrunc,sparse status=none
rm xfs.part
# An MBR with an extended partition, and two file systems that could be meant.
make_ext4 one.part 16M tree
mkdir tree2 && echo from-partition-5 >tree2/file
make_ext4 five.part 16M tree2
printf 'label: dos\nstart=2048,size=32768,type=83\nstart=36864,size=100000,type=5\nstart=40960,size=32768,type=83\n' >table
truncate -s 80M mbr.img
quiet sfdisk -q mbr.img <table
quiet dd if=one.part of=mbr.img bs=1M seek=1 conv=notrunc,sparse status=none
quiet dd if=five.part of=mbr.img bs=1M seek=20 conv=notrunc,sparse status=none
rm one.part five.part
truncate -s 128M btrfs.img
quiet mkfs.btrfs -q btrfs.img
truncate -s 16M fat.img
quiet mkfs.vfat -F 16 fat.img
quiet qemu-img convert -f raw -O qcow2 -c bare.img packed.qcow2
quiet qemu-img create -q -f qcow2 -b packed.qcow2 -F qcow2 chain
quiet qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse bare.img split.vmdk
quiet qemu-img convert -f raw -O qcow bare.img old.qcow
printf 'a passphrase' >secret
quiet qemu-img convert --object secret,id=s,file=secret -f raw -O qcow2 -o compat=0.10,encrypt.format=aes,encrypt.key-secret=s bare.img aes.qcow2
# A journal that was never replayed.
cp --sparse=always bare.img dirty.img
quiet debugfs -w -R 'ssv feature_incompat +needs_recovery' dirty.img

runs "a sandbox with fourteen disks" msb run -q -d -n "disk$id" --mount-named "vol$id:/volume:kind=disk,size=64M" --mount-disk ./split.vmdk:/vmdk --mount-disk ./bare.img:/bare:noexec,nosuid,nodev \
    --mount-disk ./squash.img:/squash:ro --mount-disk ./erofs.img:/erofs:fstype=erofs --mount-disk ./gpt.raw:/xfs \
    --mount-disk ./btrfs.img:/btrfs --mount-disk ./fat.img:/fat --mount-disk ./packed.qcow2:/packed:ro \
    --mount-disk ./chain:/bare/below:format=qcow2 --mount-disk ./dirty.img:/dirty:ro --mount-disk ./mbr.img:/mbr:partition=5 \
    --mount-disk ./old.qcow:/old:ro --mount-disk ./aes.qcow2:/aes:ro,secret-file=./secret busybox -- tail -f /dev/null
x() { msb exec -q "disk$id" -- "$@"; }
is "$(x sh -c 'cat /bare/file /vmdk/file /squash/file /erofs/file /packed/file /bare/below/file /dirty/file /old/file /aes/file' | sort | uniq -c | tr -s ' ')" \
    " 9 from-the-host" "their files are read, also of compressed and encrypted images, of version 1 of qcow, of backing chains, and with a dirty journal"
is "$(x sh -c "awk '\$2 ~ /xfs|btrfs|fat|squash|erofs|bare\$/ {print \$3}' /proc/mounts | sort | tr '\n' ' '")" \
    "btrfs erofs ext4 squashfs vfat xfs " "each is what it is"
like "$(x sh -c 'grep " /bare " /proc/mounts')" 'nosuid,nodev,noexec.*discard' "with the options that were given, and discard"
runs "all that can be are written" x sh -c 'for i in bare xfs btrfs fat vmdk bare/below volume; do echo from-the-guest >/$i/new && mkdir /$i/dir || exit; done; sync'
for i in squash packed dirty; do
    fails_with 1 'Read-only' "$i is not" x sh -c "echo x >/$i/new"
done
fails_with 126 '/bare/true' "noexec keeps programs from running" x sh -c 'cp /bin/busybox /bare/true && exec /bare/true'
is "$(x cat /mbr/file)" from-partition-5 "a partition is mounted by its number"
before=$(stat -c %b bare.img)
runs "a file of 16 MiB on the disk" x sh -c 'head -c 16777216 /dev/urandom >/bare/big && sync'
[ "$(stat -c %b bare.img)" -gt $((before + 30000)) ]
is $? 0 "takes room on the host"
runs "deleting it" x sh -c 'rm /bare/big && sync && fstrim /bare 2>/dev/null; sync'
within 60 sh -c "[ \$(stat -c %b '$tmp/d/bare.img') -lt $((before + 4000)) ]"
is $? 0 "gives it back"

# ---- larger ---------------------------------------------------------------------------------
size() { x sh -c 'cat /sys/class/block/$(grep " /volume " /proc/mounts | sed "s,^/dev/,,; s, .*,,")/size'; }
blocks=$(x stat -f -c %b /volume)
is "$(size)" 131072 "a disk volume of 64 MiB"
runs "is made larger" msb volume resize -q "vol$id" 1G
within 30 sh -c "[ \"\$(msb exec -q 'disk$id' -- stat -f -c %b /volume)\" -gt $((blocks * 10)) ]"
is "$? $(size)" "0 2097152" "the guest sees it, and its file system is as large"
runs "what was written is there, and more than there was room for" x sh -c 'cat /volume/new && head -c 100000000 /dev/zero >/volume/large && sync && rm /volume/large'

blocks=$(x stat -f -c %b /)
runs "so is the disk for what is written over the image" msb modify -q --root-disk +4G "disk$id"
within 30 sh -c "[ \"\$(msb exec -q 'disk$id' -- stat -f -c %b /)\" -gt $((blocks * 19 / 10)) ]"
is "$? $(msb inspect "disk$id" | grep -o '"root_disk_bytes" *: *[0-9]*' | tr -dc 0-9)" "0 $((8 << 30))" "while it runs, and as long as the sandbox is there"
fails_with 1 "cannot become smaller" "not smaller" msb modify --root-disk 1G "disk$id"

# The back-end dies with the news before it could pass them on.
blocks=$(x stat -f -c %b /volume)
pid=$(backend_pid "disk$id" m0.sock)
kill -STOP "$pid"
runs "a disk whose back-end hangs is made larger" msb volume resize -q "vol$id" +512M
kill -KILL "$pid"
within 30 sh -c "[ \"\$(msb exec -q 'disk$id' -- stat -f -c %b /volume)\" -gt $((blocks * 14 / 10)) ]"
is "$? $(size)" "0 3145728" "the one that takes its place tells the guest"

# Images of the user's own, which their back-ends make larger.
blocks=$(x stat -f -c %b /bare/below)
runs "a qcow2 image that is mounted is made larger" msb volume resize -q ./chain +64M
within 30 sh -c "[ \"\$(msb exec -q 'disk$id' -- stat -f -c %b /bare/below)\" -gt $((blocks * 18 / 10)) ]"
is "$?" 0 "and its file system with it"
runs "by what is written then" x sh -c 'head -c 70000000 /dev/urandom >/bare/below/large && sync && md5sum /bare/below/large >/bare/below/sum'
blocks=$(x stat -f -c %b /bare)
runs "so is a raw one" msb volume resize -q "$tmp/d/bare.img" 128M
within 30 sh -c "[ \"\$(msb exec -q 'disk$id' -- stat -f -c %b /bare)\" -gt $((blocks * 18 / 10)) ]"
is "$?" 0 "and its file system"
fails_with 1 "in use by" "one that is read is not" msb volume resize ./packed.qcow2 +64M
fails_with 1 "vmdk cannot grow: make it qcow2 with qemu-img convert" "nor a VMDK, and the message says what to do" msb volume resize ./split.vmdk +64M
fails_with 1 "cannot become smaller" "none becomes smaller" msb volume resize ./chain 64M
runs "what was written is there" x sh -c 'echo 3 >/proc/sys/vm/drop_caches; md5sum -c /bare/below/sum && rm /bare/below/large'

# ---- sharing ------------------------------------------------------------------------------
fails_with 1 "bare.img.*in use by process [0-9]+ \(msb-vhost-blk on .*/run/disk$id/m[0-9]+.sock\)" \
    "a disk that is written is not mounted again, and the message names the holder" \
    msb run -q --mount-disk ./bare.img:/x:ro busybox -- true
fails_with 1 'in use' "a disk that is read is not mounted writable" msb run -q --mount-disk ./squash.img:/x busybox -- true
is "$(msb run -q --mount-disk ./squash.img:/x:ro --mount-disk ./packed.qcow2:/y:ro busybox -- cat /x/file /y/file 2>&1)" \
    $'from-the-host\nfrom-the-host' "disks that are read are shared"
runs "a stopped sandbox leaves its disks clean" msb stop -q "disk$id"
msb rm -q "disk$id"
is "$(msb run -q --mount-disk ./gpt.raw:/a:ro --mount-disk ./btrfs.img:/b:ro --mount-disk ./fat.img:/c:ro --mount-disk ./bare.img:/d:ro \
    --mount-disk ./split.vmdk:/e:ro --mount-disk ./chain:/g:ro,format=qcow2 -v "vol$id:/f" busybox -- cat /a/new /b/new /c/new /d/new /e/new /f/new /g/new 2>&1 | sort -u)" from-the-guest "what was written is there in the next sandbox"
quiet e2fsck -fn bare.img
quiet e2fsck -fn "$MSB_HOME/volumes/vol$id/disk.raw"
pass "and the file system is whole"
quiet qemu-img check -f vmdk split.vmdk
quiet qemu-img check -f qcow2 chain
pass "and so are the VMDK and the qcow2 image"
fails_with 1 "exists with a size of" "a disk volume of another size" msb run -q --mount-named "vol$id:/x:kind=disk,size=4G" busybox -- true
runs "a volume that no sandbox has in hand is made larger" msb volume resize -q "vol$id" +512M
like "$(msb run -q -v "vol$id:/f" busybox -- sh -c 'stat -f -c "%b %s" /f | { read b s; echo $((b * s >> 20)); }')" '^(19|20)[0-9][0-9]$' \
    "its file system is as large when it is mounted next"
fails_with 1 "needs a size" "a disk volume that does not exist, without a size" msb run -q --mount-named "no$id:/x:kind=disk" busybox -- true
fails_with 1 "exists as a disk" "a disk volume as a directory" msb run -q --mount-named "vol$id:/x:kind=dir" busybox -- true

# ---- wrong input --------------------------------------------------------------------------
fails_with 2 'No such file' "a missing image" msb run -q --mount-disk ./missing.img:/x busybox -- true
fails_with 2 'not a disk image' "a directory" msb run -q --mount-disk ./tree:/x busybox -- true
fails_with 1 'mounted twice' "one image twice, under two names" msb run -q --mount-disk ./bare.img:/x --mount-disk "$tmp/d/../d/bare.img:/y" busybox -- true
fails_with 1 'format=qcow2' "a qcow2 image called raw is not probed, but named" \
    msb run -q --mount-disk ./packed.qcow2:/x:ro,format=raw busybox -- true
quiet qemu-img convert -f raw -O vdi bare.img foreign.vdi
fails_with 1 'VDI image; convert it' "an image of a format that is not supported is named" \
    msb run -q --mount-disk ./foreign.vdi:/x busybox -- true
fails_with 1 '/x.*xfs.*cannot be mounted.*what is there is ext4' "another file system than the one that is there" \
    msb run -q --mount-disk ./bare.img:/x:ro,fstype=xfs busybox -- true
fails_with 1 '/x.*no file system "bogus"' "a file system that the kernel does not have" \
    msb run -q --mount-disk ./bare.img:/x:ro,fstype=bogus busybox -- true
fails_with 1 'magic' "a raw disk called qcow2" msb run -q --mount-disk ./bare.img:/x:ro,format=qcow2 busybox -- true

fails_with 1 '/x.*Several partitions.*partition=N: 1 \(ext4, 16 MiB\), 2 \(no known file system, [^)]*\), 5 \(ext4, 16 MiB\)$' \
    "two partitions that could be meant: both are named" msb run -q --mount-disk ./mbr.img:/x busybox -- true
fails_with 1 '/x.*no partition 3; it has 1 \(no known file system, [^)]*\), 2 \(xfs' "a partition that is not there" \
    msb run -q --mount-disk ./gpt.raw:/x:partition=3 busybox -- true

truncate -s 16M empty.img
fails_with 1 "/x.*The disk has no known file system and no partitions$" "a disk without anything on it" msb run -q --mount-disk ./empty.img:/x busybox -- true

# ---- roots --------------------------------------------------------------------------------
mkdir -p root/bin root/etc
cp "$(command -v busybox)" root/bin/busybox
for a in sh cat grep sync mount ls; do ln -s busybox root/bin/$a; done
make_ext4 root.img 64M root
is "$(msb run -q ./root.img -- sh -c 'echo kept >/kept && cat /proc/mounts' 2>&1 | grep -c ' / ext4 rw')" 1 "a raw disk is the root"
quiet qemu-img convert -f raw -O qcow2 root.img root.qcow2
quiet mksquashfs root root.squash -quiet -no-progress
runs "a root in use" msb run -q -d -n "own$id" ./root.qcow2 -- busybox tail -f /dev/null
blocks=$(msb exec -q "own$id" -- busybox stat -f -c %b /)
runs "that is a qcow2 image is made larger" msb modify -q --root-disk 128M "own$id"
within 30 sh -c "[ \"\$(msb exec -q 'own$id' -- busybox stat -f -c %b /)\" -gt $((blocks * 18 / 10)) ]"
is "$?" 0 "and its file system with it"
msb rm -q -f "own$id"
is "$(msb run -q ./root.qcow2:ro -- sh -c 'echo x >/x && cat /kept /x' 2>&1)" $'kept\nx' \
    "what is written stays; a read-only qcow2 image is the root, changes are in memory"
is "$(msb run -q ./root.squash -- sh -c 'echo x >/etc/x && cat /etc/x && ls /kept' 2>&1)" \
    $'x\nls: /kept: No such file or directory' "so is a file system that cannot be written"
printf 'label: gpt\nstart=2048,size=32768\nstart=40960,size=131072\n' >table
truncate -s 96M root-parts.img
quiet sfdisk -q root-parts.img <table
make_ext4 small.part 16M tree
quiet dd if=small.part of=root-parts.img bs=1M seek=1 conv=notrunc,sparse status=none
quiet dd if=root.img of=root-parts.img bs=1M seek=20 conv=notrunc,sparse status=none
is "$(msb run -q ./root-parts.img:ro,partition=2 -- cat /kept 2>&1)" kept "a partition of a disk is the root"
is "$(msb run -q ./root -- sh -c 'echo bind >/made && cat /made' 2>&1)" bind "a directory is the root"
is "$(cat root/made)" bind "and is written"
fails_with 1 "option 'noexec' is not valid here" "an option that a root has not" msb run -q ./root.img:noexec -- true
done_testing
