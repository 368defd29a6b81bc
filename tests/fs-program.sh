#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# msb-vhost-fs as a program: options, confinement, and a share mounted on this
# host through /dev/fuse, used with everyday tools.
. "$(dirname "$0")/lib/fs.bash"
cd "$work" || exit 99
mkdir share mnt other
ln -s share link

# refused PATTERN ARGS...: ends with an error that matches
refused() {
    local pattern=$1 status
    shift
    timeout 120 "$fs" --socket-path=s "$@" >out 2>log
    status=$?
    [ $status -ne 0 ] && [ $status -lt 100 ] && grep -q -- "$pattern" log
}

# ---- options -----------------------------------------------------------------------
refused 'shared-dir'; check $? 'a share is needed'
refused 'No such file' --shared-dir=missing; check $? 'a share that is missing is named'
refused "share 'link'.*symbolic link" --shared-dir=link; check $? 'a symbolic link is no share'
refused 'Is a directory' --shared-file=share; check $? 'a directory is no file to share'
refused 'strict, relaxed or off' --shared-dir=share --stat-virt=x; check $? 'a mode that does not exist'
refused 'belong together' --shared-dir=share --uid=1; check $? '--uid alone'
refused 'UID:GID' --shared-dir=share --map-owner=1; check $? '--map-owner without group'
refused 'off' --shared-dir=share --stat-virt=off --host-perms=mirror; check $? 'mirror without virtualization'
"$fs" --print-capabilities >out 2>log && grep -q '"type": "fs"' out; check $? '--print-capabilities'
"$fs" --help >out 2>log
for option in $(grep -oE '^  --[a-z0-9-]+' out | sort -u); do
    grep -q -- "$option" "$abs_top_srcdir/data/man/msb-vhost-fs.pod" || { echo "# $option"; false; }
    check $? "the manual page has $option"
done

# ---- confinement ----------------------------------------------------------------------
if ! has_user_attributes share; then
    refused 'stat-virt=strict' --shared-dir=share; check $? 'strict is refused where it cannot work'
    finish
fi
"$fs" --shared-dir=share --print-confinement >out 2>log; check $? '--print-confinement'
sanitized=$(grep -c -e __asan_init -e __tsan_init "$fs" || :)
for stage in no_new_privs capabilities seccomp; do
    if [ "$sanitized" != 0 ]; then
        skip "$stage is applied" 'built with sanitizers'
    else
        grep -q "\"$stage\": {\"state\": \"applied\"" out; check $? "$stage is applied"
    fi
done

# ---- mounted on this host ----------------------------------------------------------------
if [ "$(id -u)" != 0 ] || [ ! -w /dev/fuse ]; then
    skip 'everyday tools on a mounted share' 'needs root and /dev/fuse'
    finish
fi
mount_share; check $? 'mounted'
mkdir tree && mkdir -p tree/a/b/c && seq 100000 >tree/a/numbers && ln -s ../numbers tree/a/b/link &&
    ln tree/a/numbers tree/a/hard && mknod tree/null c 1 3 && mkfifo tree/pipe && chmod 4751 tree/a/hard &&
    chown -h 1234:4321 tree/a/b/link && chown 5:6 tree/a/b/c && touch -d 2001-02-03 tree/a/b/c
tar -C tree -cf tree.tar . 2>log && tar -C mnt -xpf tree.tar 2>>log; check $? 'tar unpacks devices, links and owners'
(cd tree && find . -printf '%p %M %U %G %s %l %n\n' | sed 's/^\(\S* d\S* \S* \S*\) [0-9]*/\1/' | sort) >want
(cd mnt && find . -printf '%p %M %U %G %s %l %n\n' | sed 's/^\(\S* d\S* \S* \S*\) [0-9]*/\1/' | sort) >got
sed -i '/^\. /d' want got
diff want got >log; check $? 'and all of them are as in the archive'
cmp tree/a/numbers mnt/a/b/link 2>log; check $? 'contents are the same'
[ "$(stat -c '%F %a' share/null share/pipe share/a/hard | sort -u)" = 'regular empty file 600
regular file 600' ]; check $? 'on the host they are private files'
echo text >mnt/null-user && echo more >>mnt/null-user && [ "$(cat mnt/null-user)" = 'text
more' ]; check $? 'append'
(exec 9>mnt/lock && flock 9 && ! flock -n share/lock true); check $? 'a lock in the mount excludes the host'
exec 8<>mnt/unlinked && rm mnt/unlinked && echo still >&8 && [ "$(cat /proc/self/fd/8)" = still ]; check $? 'a file that was removed stays usable'
exec 8>&-
(cd mnt && mkdir deep && cd deep && for ((i = 0; i < 200; i++)); do mkdir d && cd d || exit 1; done && touch end) 2>log
check $? 'two hundred directories deep'
mv mnt/deep other/ 2>log && [ "$(find other/deep -name end | wc -l)" = 1 ]; check $? 'moved out'
rm -rf mnt/a mnt/null mnt/pipe mnt/null-user mnt/lock && [ -z "$(ls -A share)" ]; check $? 'and all removed'
ln -s target plain && cp -a plain mnt/copy 2>log && tar -cf link.tar plain && tar -C mnt -xpf link.tar 2>log
check $? 'links are copied with their owner'
rm -f mnt/copy mnt/plain
umount mnt 2>log; check $? 'unmount'
wait $pid; check $? 'ends the program'
pid=
mount_share --stat-virt=relaxed; check $? 'mounted, relaxed'
cp -a plain mnt/copy 2>log && tar -C mnt -xpf link.tar 2>log && [ -L share/plain ]; check $? 'there, too, real ones'
stop

# What root writes in a user's directory is the user's.
rm -rf share && mkdir -m 700 share && chown 1234:1235 share && mount_share; check $? "mounted, a user's directory"
mkdir mnt/dir && echo text >mnt/dir/file && chown 5:6 mnt/dir/file && ln -s x mnt/link; check $? 'root makes files there'
[ "$(stat -c %u:%g share/dir share/dir/file share/link | sort -u)" = 1234:1235 ]; check $? 'which belong to the user on the host'
[ "$(stat -c %u:%g mnt/dir mnt/dir/file)" = '0:0
5:6' ]; check $? 'and to whom they were given in the mount'
kill $pid; wait $pid; check $? 'SIGTERM ends it'
pid=
mountpoint -q mnt; check $((! $?)) 'and unmounts'
finish
