#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Host directories and tmpfs in a sandbox: contents both ways, read-only,
# options, identity, many files, and what two sandboxes see of each other.
. "$(dirname "$0")/lib.bash"

mkdir "$tmp/data" "$tmp/ro"
echo from-the-host >"$tmp/data/in"
echo fixed >"$tmp/ro/file"
echo secret >"$tmp/secret"
ln -s ../secret "$tmp/data/escape"

runs "a sandbox with mounts" msb run -q -d -n "vol$id" --mount-dir "$tmp/data:/data" --mount-dir "$tmp/ro:/ro:ro" \
    --tmpfs /scratch:16M --tmpfs /noexec:8M:noexec -v "$tmp/ro:/also:ro,noexec" busybox -- tail -f /dev/null
x() { msb exec -q "vol$id" -- "$@"; }

is "$(x cat /data/in)" from-the-host "the guest reads the host's file"
runs "the guest writes" x sh -c 'echo from-the-guest >/data/out && mkdir -p /data/d/e && ln /data/out /data/d/e/hard'
is "$(cat "$tmp/data/out")" from-the-guest "the host reads the guest's file"
is "$(stat -c %i "$tmp/data/out")" "$(stat -c %i "$tmp/data/d/e/hard")" "hard links are hard links"
echo changed >"$tmp/data/in"
within 60 sh -c "msb exec -q vol$id -- grep -q changed /data/in"
is "$(x cat /data/in)" changed "a change on the host is seen"

fails_with 1 'Read-only file system' "ro is read-only" x sh -c 'echo x >/ro/file'
run x sh -c 'mount -o remount,rw /ro; echo x >/ro/file'
is "$(cat "$tmp/ro/file")" fixed "even after the guest remounted it"
fails_with 1 'Read-only' "timestamps of a ro mount stay" x touch /ro/file
run x cat /data/escape
is "$(echo "$out" | grep -c secret)" 0 "a symlink out of the share does not reach the host's file"

runs "chown and chmod in the guest" x sh -c 'touch /data/own && chown 1000:1000 /data/own && chmod 4750 /data/own'
is "$(x stat -c '%u:%g %a' /data/own)" "1000:1000 4750" "the guest sees its own ownership"
is "$(stat -c '%U' "$tmp/data/own")" "$(id -un)" "the host file belongs to the user who runs msb"
is "$(stat -c '%a' "$tmp/data/own")" 600 "and has a private mode"

runs "a thousand small files" x sh -c 'mkdir /data/many && i=0 && while [ $i -lt 1000 ]; do echo $i >/data/many/$i; i=$((i+1)); done'
is "$(find "$tmp/data/many" -type f | wc -l)" 1000 "are on the host"
is "$(cat "$tmp/data/many/777")" 777 "with their contents"
is "$(x sh -c 'ls /data/many | wc -l')" 1000 "and the guest lists them"
runs "rm -r" x rm -r /data/many
[ ! -e "$tmp/data/many" ]
is $? 0 "are gone on the host"

like "$(x df -m /scratch)" ' 16 ' "tmpfs has its size"
fails_with 126 '/noexec/true' "noexec keeps programs from running" x sh -c 'cp /bin/busybox /noexec/true && exec /noexec/true'

runs "a second sandbox on the same directory" msb run -q -d -n "vol2$id" -v "$tmp/data:/data" busybox -- tail -f /dev/null
runs "writes there" msb exec -q "vol2$id" -- sh -c 'echo two >/data/two'
is "$(x cat /data/two)" two "are seen by the first"
runs "a named volume is made by being mentioned" msb run -q -v "cache$id:/cache" busybox -- sh -c 'echo kept >/cache/file'
is "$(msb run -q -v "cache$id:/cache" busybox -- cat /cache/file)" kept "and outlives its sandbox"

# One budget for all who mount it, from run to run.
runs "a volume with a quota" msb run -q -d -n "q$id" -v "quota$id:/q:quota=8M" busybox -- tail -f /dev/null
q() { msb exec -q "q$id" -- "$@"; }
like "$(q df -m /q)" ' 8 ' "df tells it"
fails_with 1 'No space left' "more does not fit" q dd if=/dev/zero of=/q/big bs=64k count=200
runs "what is removed makes room" q sh -c 'rm /q/big && dd if=/dev/zero of=/q/half bs=64k count=96'
fails_with 1 'No space left' "a second sandbox has the same budget" msb run -q -v "quota$id:/q" busybox -- \
    dd if=/dev/zero of=/q/more bs=64k count=64
is "$(($(du -sk "$MSB_HOME/volumes/quota$id" | cut -f1) <= 8192))" 1 "and the host's disk no more than that"
runs "a limit of inodes, and nothing cached" msb run -q -v "inodes$id:/i:inodes=20,cache=none" busybox -- \
    sh -c 'n=0; while touch /i/$n 2>/dev/null && [ $n -lt 40 ]; do n=$((n + 1)); done; echo $n; df -i /i | tail -n 1 | tr -s " " | cut -d " " -f 2'
is "$out" "$(printf '%s\n' 19 20)" "the guest makes no more files, and is told the limit"
fails_with 1 "quota of 8388608 bytes" "another quota is refused" msb run -q -v "quota$id:/q:quota=9M" busybox -- true
msb rm -q -f "q$id"

# Without extended attributes for the guest, whose owners and modes are in one on the host. The second mount is of the
# same directory, where the attribute can be set, and shows what the first one does not.
runs "a mount without extended attributes" msb run -q -d -n "x$id" -v "attrs$id:/off:xattr=off" -v "attrs$id:/on" debian -- \
    tail -f /dev/null
like "$(msb inspect "x$id")" '"xattr" ?: ?false' "inspect tells"
a() { msb exec -q "x$id" -- "$@"; }
runs "has files" a sh -c 'echo text >/off/file && chown 1000:100 /off/file && chmod 4751 /off/file'
runs "that elsewhere have attributes" a setfattr -n user.test -v value /on/file
is "$(a getfattr --only-values -n user.test /on/file)" value "which are seen there"
fails_with 1 'Operation not supported' "a read of one is not supported" a getfattr -n user.test /off/file
fails_with 1 'Operation not supported' "a write is not" a setfattr -n user.test -v other /off/file
is "$(a getfattr -d -m - /off/file)" "" "none is listed"
is "$(a stat -c '%u:%g %a' /off/file)" "1000:100 4751" "the guest has its own owners and modes"
is "$(stat -c '%U %a' "$MSB_HOME/volumes/attrs$id/file")" "$(id -un) 600" "the host not"
runs "the sandbox again" msb restart -q "x$id"
is "$(a stat -c '%u:%g %a' /off/file /on/file)" "$(printf '%s\n' "1000:100 4751" "1000:100 4751")" "has them again"
is "$(a cat /off/file)" text "and the contents"
msb rm -q -f "x$id"

# A file alone, which the host replaces.
echo one >"$tmp/config"
runs "a file of the host" msb run -q -d -n "f$id" -v "$tmp/config:/etc/app.conf" --mount-file "$tmp/ro/file:/ro.conf:ro" \
    busybox -- tail -f /dev/null
f() { msb exec -q "f$id" -- "$@"; }
is "$(f cat /etc/app.conf /ro.conf)" $'one\nfixed' "appears in its place"
fails_with 1 'Read-only' "read-only if asked for" f sh -c 'echo x >/ro.conf'
runs "the guest writes it" f sh -c 'echo two >/etc/app.conf'
is "$(cat "$tmp/config")" two "on the host"
echo three >"$tmp/new" && mv "$tmp/new" "$tmp/config"
within 60 sh -c "msb exec -q f$id -- grep -q three /etc/app.conf"
is "$(f cat /etc/app.conf)" three "the guest follows a replacement"
runs "and writes the new one" f sh -c 'echo four >>/etc/app.conf'
is "$(cat "$tmp/config")" $'three\nfour' "on the host"
msb rm -q -f "f$id"

fails_with 2 "$tmp/missing" "a missing source is named" msb run -q --mount-dir "$tmp/missing:/x" busybox -- true
fails_with 1 '/x' "two mounts on one path are refused" msb run -q -v "$tmp/ro:/x" -v "$tmp/data:/x/" busybox -- true
fails_with 2 'noexe' "an unknown option is refused" msb run -q -v "$tmp/ro:/x:noexe" busybox -- true
msb rm -q -f "vol$id" "vol2$id"
done_testing
