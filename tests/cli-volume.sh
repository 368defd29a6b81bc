#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# msb volume, without any machine.
. "$(dirname "$0")/lib/cli.bash"

msb volume ls
like "ls has its headings" "$out" "^NAME +KIND +SIZE +CAPACITY +CREATED$"
msb volume ls --format json
is "ls --format json of nothing is an empty array" "$(tr -d ' \n' <<<"$out")" "[]"
msb volume create data 'no/good' more
is "a bad name is refused" "$status" 1
like "and named" "$err" "no/good"
is "the others are made" "$out" "data
more"
is "private" "$(stat -c %a "$MSB_HOME/volumes/data")" 700
msb volume create data
is "a name that is taken is refused" "$status" 1
like "with the reason" "$err" "there is a volume 'data' already"
msb vol ls -q
is "the newest is first" "$out" "more
data"
head -c 100000 /dev/zero >"$MSB_HOME/volumes/data/file"
ln "$MSB_HOME/volumes/data/file" "$MSB_HOME/volumes/data/again"
mkdir "$MSB_HOME/volumes/data/dir"
msb volume inspect data
python3 -c 'import json, sys
v = json.load(sys.stdin)
assert v["name"] == "data" and v["kind"] == "dir" and v["sandboxes"] == [] and v["files"] == 2, v
assert 98304 <= v["used_bytes"] < 150000 and v["path"].endswith("/volumes/data") and v["created_at"], v' <<<"$out"
verdict $? "inspect tells all, files with two names once" "$out"
msb volume inspect nothing
is "inspect of what is not there fails" "$status" 1
like "and says how to list" "$err" "no volume 'nothing'.*msb volume ls"
is "completion knows them" "$("$MSB_PROGRAM" __complete 3 -- msb volume rm "" | tr '\n' ' ')" "more data "
is "and directories to mount on" "$("$MSB_PROGRAM" __complete 4 -- msb volume mount data "")" ":dirs"

msb volume create --quota 8M --inodes 50 limited
is "a volume with limits" "$status" 0
msb volume inspect limited
python3 -c 'import json, sys
v = json.load(sys.stdin)
assert v["quota"] == 8 << 20 and v["inodes"] == 50, v' <<<"$out"
verdict $? "inspect tells them" "$out"
msb volume create --inodes x other
is "a number of inodes is a number" "$status" 2
like "which the error says" "$err" "--inodes.*'x'"
msb volume rm -q limited

msb volume create --kind disk --size 64M db
is "a disk" "$status" 0
msb volume inspect db
python3 -c 'import json, sys
v = json.load(sys.stdin)
assert v["kind"] == "disk" and v["capacity_bytes"] == 64 << 20 and v["used_bytes"] < 16 << 20, v' <<<"$out"
verdict $? "inspect tells its size" "$out"
msb volume ls
like "ls too, beside what it takes" "$out" $'\n'"db +disk +[0-9.]+.[KM]iB +64.0.MiB +[0-9]+ second"
like "a directory has none" "$out" $'\n'"data +dir +[0-9.]+.KiB +- +[0-9]+ second"
e2fsck -fn "$MSB_HOME/volumes/db/disk.raw" >/dev/null 2>&1
is "and its file system is whole" $? 0
msb volume resize db 80M
is "it can become larger" "$status$out" 0db
msb volume resize -q db +16M
msb volume inspect db
python3 -c 'import json, sys; assert json.load(sys.stdin)["capacity_bytes"] == 96 << 20' <<<"$out"
verdict $? "to a size or by one" "$out"
is "also as msb keeps it" "$(grep -o '"size" *: *[0-9]*' "$MSB_HOME/volumes/.meta/db.json" | tr -dc 0-9)" $((96 << 20))
msb volume resize db 96M
is "the size it has is no error" "$status" 0
msb volume resize db 64M
is "it cannot become smaller" "$status" 1
like "and the error says what to do" "$err" "has 96.0.MiB and cannot become smaller.*make another one"
for size in x -1M +x 1.5X ''; do
    msb volume resize db -- "$size"
    is "'$size' is no size" "$status" 2
done
msb volume resize db +2000000G
is "nor can it be larger than a file" "$status" 1
like "which is told" "$err" "larger than 15 TiB"
msb volume resize data 64M
like "a directory has no size" "$err" "'data' is a directory"
msb volume resize nothing 64M
like "one that is not there is named" "$err" "no volume 'nothing'"
msb volume create --kind disk --size 64M db
like "its name is taken" "$err" "there is a volume 'db' already"
msb volume create --kind disk other
is "a disk needs a size" "$status" 2
msb volume create --size 64M other
is "and a directory has none" "$status" 2
msb volume create --kind disk --size 1K other
is "one that is too small is refused" "$status" 1
like "with the reason" "$err" "between 16 MiB"
msb volume create --kind disk --size 64M --quota 8M other
is "a disk has no quota" "$status" 2
msb volume ls -q
is "and nothing is left of these" "$(grep -c other <<<"$out")" 0
msb volume rm -q db

if command -v qemu-img >/dev/null; then
    image=$work/disk.qcow2
    qemu-img create -q -f qcow2 "$image" 16M
    msb volume resize "$image" +16M
    is "a disk image of one's own can become larger, by one size" "$status$out" "0$image"
    msb volume resize -q "$image" 48M
    is "or to one" "$status$(qemu-img info --output=json "$image" | grep -o '"virtual-size": 50331648')" '0"virtual-size": 50331648'
    msb volume resize "$image" 16M
    is "not smaller" "$status" 1
    like "which it says without more ado" "$err" "^error: \"[^\"]*\" has 50331648 bytes and cannot become smaller$"
    qemu-img create -q -f vmdk "$work/disk.vmdk" 16M
    msb volume resize "$work/disk.vmdk" 32M
    like "a VMDK cannot, and the error says what can" "$err" "format vmdk cannot grow: make it qcow2 with qemu-img convert"
fi
truncate -s 1M "$work/disk.raw" "$work/nameless"
msb volume resize "$work/nameless" 2M
like "what it is the name has to tell" "$err" "'[^']*/nameless' does not tell its format"
is "and nothing is done" "$(stat -c %s "$work/nameless")" 1048576
msb volume resize "$work/disk.raw" 2M
is "a raw one can" "$status$(stat -c %s "$work/disk.raw")" 02097152
msb volume resize "$work/none.raw" 2M
like "one that is not there is named" "$err" "none.raw.*No such file"

# A directory without metadata, made by other means.
mkdir "$MSB_HOME/volumes/found"
msb volume ls
like "a directory made by other means is listed" "$out" "found +dir "

msb volume rm nothing data
is "rm of what is not there fails" "$status" 1
is "and goes on to the next" "$out" "data"
[ ! -e "$MSB_HOME/volumes/data" ] && [ ! -e "$MSB_HOME/volumes/.meta/data.json" ]
verdict $? "nothing is left of it"
msb volume rm ../volumes
is "a volume's name is no path" "$status" 1
msb volume rm -q more found
is "rm -q says nothing" "$status$out" 0

# ---- mounted on this host ----
msb volume create --quota 8M data
msb volume mount data "$work/nowhere"
is "mount wants a directory" "$status" 1
like "and names it" "$err" "$work/nowhere"
msb volume mount data
is "mount wants a place" "$status" 2
mkdir "$work/mnt"
if [ "$(id -u)" != 0 ]; then
    msb volume mount data "$work/mnt"
    like "mount needs root" "$err" "only root may mount"
elif ! (: <>/dev/fuse) 2>/dev/null; then
    echo "# /dev/fuse cannot be opened: mounting is not tried"
elif ! python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.t", b"1")' "$MSB_HOME/volumes/data" 2>/dev/null; then
    msb volume mount data "$work/mnt"
    like "strict needs attributes" "$err" "extended attribute"
else
    "$MSB_PROGRAM" volume mount data "$work/mnt" 2>"$work/log" &
    pid=$!
    trap 'umount -l "$work/mnt" 2>/dev/null; kill $pid 2>/dev/null; rm -rf "$work"' EXIT
    for ((i = 0; i < 500; i++)); do
        mountpoint -q "$work/mnt" && break
        kill -0 $pid 2>/dev/null || break
        read -rt 0.02 <> <(:) || :
    done
    touch "$work/mnt/file" && chown 12:34 "$work/mnt/file" && chmod 4755 "$work/mnt/file"
    is "it has owners of its own" "$(stat -c '%u:%g %a' "$work/mnt/file")" "12:34 4755"
    is "that the host does not have" "$(stat -c '%u:%g %a' "$MSB_HOME/volumes/data/file")" "0:0 600"
    head -c 9M /dev/zero >"$work/mnt/big" 2>"$work/err"
    like "the volume's quota holds" "$(cat "$work/err")" "No space left"
    is "which is what is there" "$(df --output=size -B1 "$work/mnt" | tail -n 1 | tr -d " ")" 8388608
    umount "$work/mnt"
    wait $pid
    is "it ends when it is unmounted" "$?" 0
fi
done_testing
