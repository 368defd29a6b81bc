#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The back-ends of two disks, a raw one and a qcow2 over a backing file, are killed again
# and again while the guest writes and verifies (fio): they come back, QEMU reconnects, and
# the guest sees nothing but pauses.
. "$(dirname "$0")/lib.bash"
PATH=$PATH:/usr/sbin:/sbin
fio=/usr/bin/fio
[ -x $fio ] || { echo "1..0 # SKIP fio is not installed"; exit 0; }

n=re$id
disk=$tmp/disk.raw over=$tmp/over.qcow2
truncate -s 96M "$disk"
mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$disk" || exit 99
cp "$disk" "$tmp/base.raw"
qemu-img create -q -f qcow2 -b base.raw -F raw "$over" || exit 99
# The host's own fio, with the host's libraries: the busybox image has neither.
libs=/host/lib/x86_64-linux-gnu
runs "a sandbox with two disks and two queues" msb run -q -d -n "$n" -c 2 -m 1G --mount-disk "$disk:/data" \
    --mount-disk "$over:/over" -v /usr:/host:ro \
    busybox -- tail -f /dev/null
first=$(backend_pid "$n" m0.sock)
cat >"$tmp/work" <<WORK
while [ ! -e /run/enough ]; do
    $libs/ld-linux-x86-64.so.2 --library-path $libs:$libs/ceph /host/bin/fio --output-format=terse --name=verify \
        --directory=/data:/over --size=24M --numjobs=2 --direct=1 --ioengine=libaio --iodepth=16 --bs=4k --rw=randrw \
        --verify=crc32c --verify_backlog=256 --verify_fatal=1 --time_based --runtime=${MSB_TEST_LONG:+6}8 || exit
done
WORK
msb exec -q "$n" -- sh -c "$(cat "$tmp/work")" >"$tmp/fio" 2>&1 &
writer=$!
background+=("$writer")

written_since() { [ "$disk" -nt "$1" ] && [ "$over" -nt "$1" ]; }
touch "$tmp/0"
within 120 written_since "$tmp/0"
is $? 0 "the guest writes"
for i in 1 2 3 4; do
    raw=$(backend_pid "$n" m0.sock) qcow2=$(backend_pid "$n" m1.sock)
    kill -9 "$raw" "$qcow2"
    within 60 gone "$raw" && within 60 gone "$qcow2"
    touch "$tmp/$i"
    within 120 written_since "$tmp/$i"
    is $? 0 "the back-ends were killed ($i), and the guest goes on writing"
done
kill -0 "$writer" 2>/dev/null
is $? 0 "all of it while fio was at work"
msb exec -q "$n" -- touch /run/enough
wait "$writer"
is $? 0 "fio ends without an error"
is "$(cut -d';' -f5 "$tmp/fio" | sort -u)" 0 "and says so of each of its jobs"
like "$(backend_pid "$n" m0.sock)" '^[0-9]+$' "a back-end serves"
[ "$(backend_pid "$n" m0.sock)" != "$first" ]
is $? 0 "another one than in the beginning"
is "$(grep -c -i -E 'i/o error|blk_update_request|EXT4-fs error' "$MSB_HOME/sandboxes/$n/logs/console.log")" 0 \
    "the guest's kernel has nothing to complain of"
runs "what was written last is read back" msb exec -q "$n" -- sh -c 'echo last >/data/last && sync && echo 3 >/proc/sys/vm/drop_caches && grep -q last /data/last'
runs "it stops" msb stop -q "$n"
e2fsck -fn "$disk" >"$tmp/log" 2>&1
is $? 0 "and the file system is whole"
qemu-img check -q "$over" >"$tmp/log" 2>&1
like $? '^[03]$' "the image has nothing worse than leaks"
qemu-img convert -O raw "$over" "$tmp/flat" && e2fsck -fn "$tmp/flat" >"$tmp/log" 2>&1
is $? 0 "and its file system is whole"
msb rm -q "$n"
done_testing
