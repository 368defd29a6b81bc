#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images that buildah and umoci make and that skopeo pushes to docker-registry, as gzip, zstd and uncompressed layers:
# what msb has after the pull is compared entry by entry (type, owner, mode, times, links, attributes, content) with
# what umoci unpacks and what podman mounts of the same image.  The root's own attributes are left out: a sandbox has
# them from its upper disk.  With MSB_TEST_LONG more layers, larger files.
set -u
. "${abs_top_srcdir:?}/tests/registry/lib.bash"
builddir=${abs_top_builddir:?}
export LC_ALL=C TMPDIR=$tmp
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP buildah and umoci want to be root"; exit 0; }
for p in buildah podman setcap setfattr setfacl zstd; do
    command -v $p >/dev/null || { echo "1..0 # SKIP $p is not installed"; exit 0; }
done
cd "$tmp" || exit 99
msb() { "$builddir/src/msb/msb" "$@"; }
tool() { "$builddir/tests/unit/image/image-tool" "$@"; }
storage=(--root "$tmp/storage" --runroot "$tmp/runroot" --storage-driver "${MSB_TEST_STORAGE:-overlay}")
b() { buildah "${storage[@]}" "$@"; }
p() { podman "${storage[@]}" "$@"; }
leave() {
    b rm -a >/dev/null 2>&1
    for m in "$tmp"/storage/overlay/*/merged "$tmp/storage/overlay"; do umount "$m" 2>/dev/null; done
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$tmp"
}
trap leave EXIT
echo "{}" >"$DOCKER_CONFIG/config.json" # buildah insists
start_registry plain
registry=127.0.0.1:$port
layers=64 big=24M
[ -z "${MSB_TEST_LONG-}" ] || layers=120 big=600M

copy() { skopeo copy -q --insecure-policy --src-tls-verify=false --dest-tls-verify=false "$@"; }
# Without the root, and without what the host adds.
entries() { grep -v '^ ' | sed 's/ security\.selinux=[^ ]*//'; }
ours() { msb pull -q --insecure "$registry/$1" >/dev/null && tool "$MSB_HOME" tree "$registry/$1" | entries; }
umoci_has() { # OCI-LAYOUT:TAG
    rm -rf unpacked
    umoci unpack --image "$1" unpacked >/dev/null 2>&1 && tool - tree-of unpacked/rootfs | entries
}
podman_has() { # IMAGE
    local at
    p pull -q --tls-verify=false "$registry/$1" >/dev/null && at=$(p image mount "$registry/$1") &&
        tool - tree-of "$at" | entries
    p image umount -a >/dev/null
}
# overlayfs shows the link count that a file has in its layer, also when another layer hides one of the names.
no_links() { sed 's/ links=[0-9]*//'; }
# same NAME ONE OTHER: two files are equal, and not empty.
same() {
    if [ -s "$2" ] && out=$(diff "$2" "$3" 2>&1); then pass "$1 ($(wc -l <"$2") entries)"; else fail "$1"; fi
    out=${out:0:3000}
}

# ---- buildah: everything a file can be, three layers ----
stamp() { touch -h -d "@$1" "${@:2}"; }
fill_one() {
    local i
    mkdir -p etc/sub usr/bin opaque/deep gone dir2file var/empty chmod && chmod 1777 var && chmod 2750 usr/bin
    echo root:x:0:0 >etc/passwd && : >etc/empty && echo 1 >etc/sub/one && echo low >opaque/low && echo d >opaque/deep/d
    echo g >gone/g && echo x >dir2file/x && echo f >file2dir && ln -s etc/passwd sym && ln -s /nowhere/at/all dangling
    ln -s "$(printf 'l%.0s' {1..900})" longlink
    cp etc/passwd usr/bin/ping && chmod 4755 usr/bin/ping && cp etc/passwd usr/bin/cap && setcap cap_net_raw,cap_net_admin+ep usr/bin/cap
    setfattr -n user.note -v some etc/passwd && setfattr -n user.bin -v 0x0001ff80 etc/sub && setfacl -m u:7:rw,g:9:r etc/empty &&
        setfacl -d -m u:7:rwx etc/sub
    mkfifo pipe && mknod null c 1 3 && mknod disk b 259 70000
    echo l >links && for i in 1 2 3; do ln links etc/hard$i; done
    echo latin >$'caf\xe9' && echo line >$'new\nline' && echo b >'back\slash' && echo s >'sp ace' && echo 8 >'häß'
    mkdir -p "$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})" && echo n >"$(printf 'n%.0s' {1..255})"
    head -c $big /dev/urandom >big && truncate -s 64M sparse && echo mid | dd of=sparse bs=1 seek=33M conv=notrunc status=none
    for i in {1..300}; do echo $i >chmod/$i; done
    chown -h 12:34 sym && chown 1000:2000 etc/passwd && chown 4000000000:3999999999 etc/sub/one
    find . -mindepth 1 -depth -print0 | xargs -0 touch -h -d @1600000000.123456789
    stamp -5 etc/sub/one && stamp 4294967296.5 links && stamp 0 pipe
}
fill_two() {
    rm -r opaque gone dir2file file2dir sym etc/hard1 && mkdir opaque file2dir && echo up >opaque/up && echo now >dir2file &&
        echo in >file2dir/in && mkdir sym && echo in >sym/in
    chmod 600 chmod/7 && chown 5:6 chmod/8 && setfattr -x user.note etc/passwd && setfattr -n user.two -v 2 chmod/9
    stamp 1700000000 chmod/10 && mv chmod/11 moved && ln moved moved2 && echo more >>etc/sub/one && chmod 700 chmod
    ln -f etc/passwd linked-below && setcap -r usr/bin/cap && rm pipe && ln -s null pipe
}
fill_three() {
    mkdir gone && echo again >gone/g && rm -r opaque && rm null && echo x >null
    touch .hidden && mkdir -p etc/sub/new/tree && mv etc/sub/one etc/sub/new/tree/one && rm -r sym && ln -s file2dir sym
}
layer() { # FROM FORMAT NAME FUNCTION
    local c m
    c=$(b from "$1") && m=$(b mount "$c") && (cd "$m" && "$4") && b commit -q --format "$2" "$c" "$3" >/dev/null && b rm "$c" >/dev/null
}
if layer scratch oci one fill_one >log 2>&1 && layer localhost/one oci two fill_two >>log 2>&1 &&
    layer localhost/two docker three fill_three >>log 2>&1 && layer localhost/two oci nothing true >>log 2>&1 &&
    b push -q --tls-verify=false three "docker://$registry/b/docker" >>log 2>&1 &&
    b push -q --tls-verify=false --format oci three "docker://$registry/b/oci:1" >>log 2>&1 &&
    b push -q --tls-verify=false nothing "docker://$registry/b/nothing" >>log 2>&1; then
    pass "buildah makes and pushes images"
else
    out=$(cat log)
    fail "buildah makes and pushes images"
fi
copy "docker://$registry/b/docker" oci:layout:docker
copy "docker://$registry/b/nothing" oci:layout:nothing
ours b/docker:latest >got 2>log
umoci_has layout:docker | no_links >want
no_links <got >got1
same "schema 2, by buildah, as umoci unpacks it" want got1
podman_has b/docker:latest >want2 2>log
same "and as podman mounts it" want2 got
ours b/oci:1 >got1
same "the same image as OCI" got got1
ours b/nothing:latest >got1
podman_has b/nothing:latest >want
same "with a layer that changes nothing" want got1
for format in zstd gzip; do
    copy --dest-compress --dest-compress-format $format oci:layout:docker oci:$format:1 &&
        copy --preserve-digests oci:$format:1 "docker://$registry/c/$format:1" && [[ $(skopeo inspect --raw --tls-verify=false "docker://$registry/c/$format:1") == *"tar+$format"* ]] && (
        export MSB_HOME=$tmp/home-$format
        ours c/$format:1 >got1
    )
    same "layers pushed as $format" got got1
done

# ---- umoci: many layers, empty ones, and what only an archive made by hand has ----
umoci init --layout many && umoci new --image many:latest
for ((i = 0; i < layers; i++)); do
    rm -rf l && mkdir -p l/all l/dir$((i % 5)) l/only$i
    echo $i >l/all/latest && echo $i >l/all/$i && echo $i >l/dir$((i % 5))/f$i && chmod $((700 + i % 8)) l/dir$((i % 5))
    if [ $((i % 7)) = 6 ]; then touch l/all/.wh.$((i - 3)) l/dir$(((i - 5) % 5))/.wh.f$((i - 5)) 2>/dev/null; fi
    tar --sort=name --owner=$i --group=0 --mtime=@$((1600000000 + i)) -C l -cf l.tar .
    [ $((i % 10)) != 5 ] || head -c 10240 /dev/zero >l.tar
    umoci raw add-layer --image many:latest l.tar >/dev/null 2>&1
done
copy oci:many:latest "docker://$registry/u/many:1"
ours u/many:1 >got
umoci_has many:latest >want
same "$layers layers, as umoci unpacks them" want got
[ "$(msb image inspect "$registry/u/many:1" | grep -c '"diff_id"')" = $layers ] && pass "none of them is lost" || fail "none of them is lost"
copy --dest-compress --dest-compress-format zstd oci:many:latest oci:zstd:many && copy --preserve-digests oci:zstd:many "docker://$registry/u/zstd:1"
podman_has u/zstd:1 >want
ours u/zstd:1 >got1
same "and as podman mounts them from zstd" want got1

umoci init --layout hand && umoci new --image hand:latest
python3 - <<'PY'
import io, tarfile
def layer(path, entries):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, attributes in entries:
            info, data = tarfile.TarInfo(name), attributes.pop("data", b"")
            info.size, info.mtime, info.mode = len(data), 1500000000, 0o644
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
def d(name, **more): return name, dict(type=tarfile.DIRTYPE, mode=0o755, **more)
def f(name, data=b"", **more): return name, dict(data=data, **more)
def link(name, to): return name, dict(type=tarfile.LNKTYPE, linkname=to)
def sym(name, to): return name, dict(type=tarfile.SYMTYPE, linkname=to)
layer("h1.tar", [d("a"), f("a/low", b"low"), d("a/sub"), f("a/sub/x", b"x"), d("b"), f("b/file", b"linked", uid=5, gid=6, mode=0o4711,
    pax_headers={"SCHILY.xattr.user.k": "v"}), d("c"), f("c/y", b"y"), f("d", b"d"), f("big", b"z" * 3000000), f("e", b""),
    sym("s", "b"), sym("b/up", "../../../b"), sym("abs", "/s/../b"), sym("chain", "b/up/back"), sym("b/back", "../abs"), ("long", dict(type=tarfile.SYMTYPE, linkname="l" * 4000)),
    ("fifo", dict(type=tarfile.FIFOTYPE)), ("dev", dict(type=tarfile.CHRTYPE, devmajor=259, devminor=70000)),
    f("sparse", b"A" * 512 + b"Z" * 512, pax_headers={"GNU.sparse.numblocks": "2", "GNU.sparse.map": "0,512,8388096,512", "GNU.sparse.size": "8388608",
        "GNU.sparse.name": "sparse"})])
# The opaque mark after the directory's new content, before it, and in a directory that has no entry.
layer("h2.tar", [d("a"), f("a/new", b"new"), f("a/.wh..wh..opq"), d("c"), f("c/.wh..wh..opq"), f("c/z", b"z"),
    f(".wh.d"), d("d"), f("d/inside", b"1")])
# Hard links to files of the layers below, and to what is linked so.
layer("h3.tar", [link("b/other", "b/file"), link("b/third", "b/other"), link("biglink", "big"), link("elink", "e"), link("slink", "s"),
    f("z", b"z"), link("fifolink", "fifo"), link("devlink", "dev"), link("sparselink", "sparse"), link("longlink", "long")])
# The same through links to directories of the layers below, which stay inside the root; the last one is not followed.
layer("h4.tar", [link("v1", "s/file"), link("v2", "/abs/file"), link("c/v7", "c/z"), sym("here", "abs/."), link("v5", "here/file"),
    link("v6", "chain"), link("v3", "chain/file")])
PY
for i in 1 2 3; do umoci raw add-layer --image hand:latest h$i.tar >/dev/null 2>&1; done
copy oci:hand:latest "docker://$registry/h/hand:1"
ours h/hand:1 >got 2>log || cat log
umoci_has hand:latest >want
same "opaque marks in any place, hard links across layers" want got
# A file that is linked in two layers is two files, as overlayfs makes it when it copies one of its names up.
umoci raw add-layer --image hand:latest h4.tar >/dev/null 2>&1
copy oci:hand:latest "docker://$registry/h/hand:2"
ours h/hand:2 2>log | no_links >got || cat log
umoci_has hand:latest | no_links >want
same "hard links through links to directories" want got
if command -v fsck.erofs >/dev/null; then
    out=$(for image in "$MSB_HOME"/images/layers/*.erofs; do fsck.erofs "$image" || echo "$image"; done 2>&1 | grep -v 'No errors found')
    [ -z "$out" ] && pass "fsck.erofs is content with every layer" || fail "fsck.erofs is content with every layer"
fi
echo "1..$count"
[ "$failed" = 0 ]
