#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A real distribution in a real multi-layer image: what is in the guest is what
# was in the image, dpkg agrees, packages install, load is survived.
. "$(dirname "$0")/lib.bash"
n=deb$id
: "${MSB_TEST_FILES:?}"
mkdir "$tmp/share"
cp "$MSB_TEST_FILES/msb-test.deb" "$MSB_TEST_FILES/debian-verify.txt" "$tmp/share/"
runs "create" msb create -q -n "$n" -m 1024 -v "$tmp/share:/share" debian
x() { msb exec -q "$n" -- "$@"; }
like "$(x cat /etc/os-release)" 'Debian GNU/Linux' "it is Debian"

x bash -c "cd / && find . -xdev -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o -path ./run -prune -o \
    -path ./tmp -prune -o -path ./.msb -prune -o -path ./share -prune -o -path ./usr/lib/modules -prune -o \
    ! -type d ! -path ./etc/hosts ! -path ./etc/hostname ! -path ./etc/resolv.conf -printf '%p|%y|%m|%U:%G|%n|%l|' \( -type f -printf '%s' -o -true \) -printf '\\0'" |
    tr '\n\0' '?\n' | LC_ALL=C sort >"$tmp/guest.list"
python3 - "$MSB_TEST_FILES/debian-rootfs.tar" >"$tmp/image.list" <<'PY'
import collections, sys, tarfile
skip = ("./proc/", "./sys/", "./dev/", "./run/", "./tmp/", "./etc/hosts", "./etc/hostname", "./etc/resolv.conf")
links, seen = collections.Counter(), {}
members = list(tarfile.open(sys.argv[1], errors="surrogateescape"))
for m in members:
    name = m.linkname if m.islnk() else m.name
    links[name if name.startswith("./") else "./" + name] += 1
for m in members:
    name = m.name if m.name.startswith("./") else "./" + m.name
    target = name
    if m.islnk():
        target = m.linkname if m.linkname.startswith("./") else "./" + m.linkname
        m = seen[target]
    seen[name] = m
    if m.isdir() or name.startswith(skip):
        continue
    kind = "l" if m.issym() else "f" if m.isreg() else "c" if m.ischr() else "p" if m.isfifo() else "b"
    mode = "777" if m.issym() else "%o" % m.mode
    line = "%s|%s|%s|%d:%d|%d|%s|%s" % (name, kind, mode, m.uid, m.gid, links[target],
                                       m.linkname if m.issym() else "", m.size if m.isreg() else "")
    sys.stdout.buffer.write(line.replace("\n", "?").encode("utf-8", "surrogateescape") + b"\n")
PY
LC_ALL=C sort -o "$tmp/image.list" "$tmp/image.list"
lines=$(wc -l <"$tmp/image.list")
if [ "$lines" -gt 5000 ] && cmp -s "$tmp/guest.list" "$tmp/image.list"; then
    pass "all $lines files are in the guest as they are in the image (type, mode, owner, links, size)"
else
    fail "all $lines files are in the guest as they are in the image"
    diag "$(diff "$tmp/image.list" "$tmp/guest.list" | head -n 20)"
fi
is "$(x dpkg --verify | sort)" "$(sort "$MSB_TEST_FILES/debian-verify.txt")" "dpkg --verify agrees with the image"
like "$(x getcap /opt/cat-cap)" 'cap_net_raw[=+]ep' "file capabilities are there"
is "$(x getfattr --only-values -n user.msb.test /opt/links/third)" value "extended attributes are there, through a link across layers"
is "$(x ls /opt/opaque)" new "an opaque directory hides what is below"
fails_with 2 'No such file' "a whiteout hides a directory" x ls /usr/share/doc/apt
is "$(x stat -c '%t:%T %F' /opt/null)" "1:3 character special file" "device nodes are there"
is "$(x setpriv --reuid 1234 --clear-groups /opt/id-setuid -u)" 0 "setuid works"

runs "dpkg -i of a local package" x dpkg -i /share/msb-test.deb
is "$(x cat /usr/share/msb-test/file)" installed "installed"
runs "apt remove" x apt-get remove -y -q msb-test
runs "a 1 GiB file written, read back and compared" x bash -c 'set -e
    dd if=/dev/zero bs=1M count=1024 2>/dev/null | tr "\0" "\125" | tee /root/big | sha256sum >/tmp/a
    sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum </root/big >/tmp/b; cmp /tmp/a /tmp/b; rm /root/big'
runs "a thousand small files" x bash -c 'set -e; mkdir /root/s; for i in {1..1000}; do echo $i >/root/s/$i; done; sync
    echo 3 >/proc/sys/vm/drop_caches; cat /root/s/* | sort -n | cmp - <(seq 1 1000)'
for i in 1 2 3 4 5 6 7 8; do
    x bash -c "sleep 0.\$((RANDOM % 9)); seq 1 20000 | md5sum; exit $i" >"$tmp/exec$i" 2>&1 &
    pids[i]=$!
done
good=0
want=$(seq 1 20000 | md5sum)
for i in 1 2 3 4 5 6 7 8; do
    wait "${pids[i]}"
    [ $? = "$i" ] && [ "$(cat "$tmp/exec$i")" = "$want" ] && good=$((good + 1))
done
is "$good" 8 "eight commands at once, each with its own output and exit code"

runs "a second sandbox of the image" msb create -q -n "two$n" debian
runs "does not see what the first one wrote" msb exec -q "two$n" -- test ! -e /root/s
runs "stop and start" msb restart -q "$n"
is "$(x bash -c 'ls /root/s | wc -l')" 1000 "keep what was written"
runs "rm" msb rm -q -f "$n" "two$n"
done_testing
