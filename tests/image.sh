#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The image store with archives as other tools write them.  What comes out is
# compared entry by entry (type, owner, mode, times, attributes, content) with
# what umoci unpacks of the same image; EROFS images are judged by fsck.erofs.
set -u
tool=${abs_top_builddir:-$PWD}/tests/unit/image/image-tool
[ -x "$tool" ] || { echo "1..0 # SKIP tests/unit/image/image-tool is not built"; exit 77; }
for program in tar sha256sum gzip zstd; do
    command -v $program >/dev/null || { echo "1..0 # SKIP $program is not installed"; exit 77; }
done
dir=$(mktemp -d) || exit 99
trap 'chmod -R u+rwX "$dir"; rm -rf "$dir"' EXIT
cd "$dir" || exit 99
export LC_ALL=C TMPDIR=$dir
count=0
failed=0

# ok NAME STATUS: one test point; what the last command said is shown when it fails.
ok() {
    count=$((count + 1))
    if [ "$2" = 0 ]; then
        echo "ok $count - $1"
    else
        failed=$((failed + 1))
        echo "not ok $count - $1"
        head -n 20 log 2>/dev/null | sed 's/^/# /'
    fi
}
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }
msb() { "$tool" "$home" "$@"; }
try() { "$@" >log 2>&1; }
refuses() { ! "${@:2}" >log 2>&1 && grep -q -- "$1" log; }
new_home() { home=$dir/home.$((++homes)); mkdir -p "$home"; }
homes=0

# ---- an OCI layout by hand, so that this part needs neither umoci nor root ----

# blob LAYOUT FILE: store FILE, print digest and size.
blob() {
    local hex
    hex=$(sha256sum <"$2" | cut -d' ' -f1)
    mkdir -p "$1/blobs/sha256"
    cp "$2" "$1/blobs/sha256/$hex"
    echo "$hex $(stat -c %s "$2")"
}

# layout DIR NAME LAYER.tar[.gz|.zst]...: an OCI layout of one image.
layout() {
    local to=$1 name=$2 ids='' layers='' layer hex size
    shift 2
    for layer; do
        read -r hex size < <(blob "$to" "$layer")
        layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:$hex\",\"size\":$size}"
        case $layer in
        *.gz) hex=$(gzip -dc "$layer" | sha256sum | cut -d' ' -f1) ;;
        *.zst) hex=$(zstd -qdc "$layer" | sha256sum | cut -d' ' -f1) ;;
        esac
        ids+="${ids:+,}\"sha256:$hex\""
    done
    printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/bin/sh"],"Env":["A=b"],"User":""},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$arch" "$ids" >config.json
    read -r hex size < <(blob "$to" config.json)
    printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
        "$hex" "$size" "$layers" >manifest.json
    read -r hex size < <(blob "$to" manifest.json)
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
        "$hex" "$size" "$name" >"$to/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$to/oci-layout"
}
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac

mkdir -p one/etc one/usr/share/doc one/opt/sub two/usr/share/doc two/opt
echo root:x:0:0 >one/etc/passwd
head -c 300000 /dev/urandom >one/usr/share/doc/big
head -c 5000 /dev/zero | tr '\0' z >one/usr/share/doc/small
ln one/usr/share/doc/small one/usr/share/doc/linked
ln -s ../etc/passwd one/opt/link
echo gone >one/opt/gone
echo inner >one/opt/sub/inner
mkfifo one/opt/pipe
touch -d '1969-12-31 23:59:58 UTC' one/opt/old
touch two/opt/.wh.gone
mkdir two/opt/sub
touch two/opt/sub/.wh..wh..opq
echo new >two/opt/sub/new
tar --sort=name --owner=1000 --group=2000 --format=pax -C one -cf one.tar .
tar --sort=name --owner=0 --group=0 --format=gnu -C two -cf two.tar .
gzip -nk one.tar
zstd -qk two.tar

new_home
layout oci registry.example/t:1 one.tar.gz two.tar.zst
try msb load oci
ok "an OCI layout of a gzip and a zstd layer is loaded" $?
grep -q '^registry.example/t:1 sha256:[0-9a-f]* 2$' log
ok "its name comes from the annotation" $?
msb tree registry.example/t:1 >tree
grep -q '^opt/sub/new ' tree && ! grep -qE '^opt/(gone|sub/inner|\.wh)' tree
ok "whiteout and opaque directory hide what is below" $?
grep -q "^opt/old 100644 1000:2000 -2.000000000 " tree
ok "a time before 1970 is kept" $?
grep -q '^usr/share/doc/linked 100644 1000:2000 .* links=2 size=5000 ' tree
ok "a hard link counts" $?
if command -v fsck.erofs >/dev/null; then
    status=0
    for image in "$home"/images/layers/*.erofs; do try fsck.erofs "$image" || status=1; done
    ok "fsck.erofs is content" $status
else
    skip "fsck.erofs is content" "erofs-utils is not installed"
fi
before=$(find "$home/images" -type f -printf '%P %s %T@\n' | grep -v index | sort)
try msb load oci again:1
ok "loaded again under another name" $?
after=$(find "$home/images" -type f -printf '%P %s %T@\n' | grep -v index | sort)
[ "$before" = "$after" ]
ok "and nothing was written again" $?
try msb rm registry.example/t:1 && [ "$(find "$home/images/layers" -type f | wc -l)" = 2 ]
ok "removed under one name, its layers stay for the other" $?
digest=$(msb ls | cut -d' ' -f2)
try msb inspect "${digest:7:12}"
ok "found by the beginning of its digest" $?
try msb rm again:1 && [ -z "$(find "$home/images/layers" "$home/images/blobs" "$home/images/tmp" -type f)" ]
ok "removed under its last name, nothing is left" $?

# ---- the same image in every wrapping ----
want=$(sha256sum <tree)
tar -C oci -cf oci.tar .
gzip -nk oci.tar
zstd -qk oci.tar
for archive in oci.tar oci.tar.gz oci.tar.zst; do
    new_home
    try msb load $archive && [ "$(msb tree registry.example/t:1 | sha256sum)" = "$want" ]
    ok "$archive" $?
done
new_home
try msb load - <oci.tar.gz && [ "$(msb tree registry.example/t:1 | sha256sum)" = "$want" ]
ok "a stream on standard input" $?

# docker save, old style: symbolic links between layers that are the same.
mkdir -p docker/aaa docker/bbb docker/ccc
cp one.tar docker/aaa/layer.tar
cp two.tar docker/bbb/layer.tar
ln -s ../bbb/layer.tar docker/ccc/layer.tar
one=$(sha256sum <one.tar | cut -d' ' -f1)
two=$(sha256sum <two.tar | cut -d' ' -f1)
printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s","sha256:%s","sha256:%s"]}}' \
    "$arch" "$one" "$two" "$two" >docker/config
hex=$(sha256sum <docker/config | cut -d' ' -f1)
mv docker/config "docker/$hex.json"
printf '[{"Config":"%s.json","RepoTags":["x/y:1","x/y:2"],"Layers":["aaa/layer.tar","bbb/layer.tar","ccc/layer.tar"]}]' \
    "$hex" >docker/manifest.json
tar -C docker -cf docker.tar .
for archive in docker docker.tar; do
    new_home
    try msb load $archive && [ "$(msb tree x/y:2 | sha256sum)" = "$want" ] && [ "$(msb ls | wc -l)" = 2 ]
    ok "docker-archive: $archive" $?
done
first=$(msb ls | cut -d' ' -f2 | sort -u)
new_home
try msb load docker && [ "$(msb ls | cut -d' ' -f2 | sort -u)" = "$first" ]
ok "a docker-archive has the same digest every time" $?

# ---- import ----
new_home
try msb import one.tar.gz imported && msb tree imported | grep -q '^opt/link 120777 1000:2000 .* -> ../etc/passwd$'
ok "import of a compressed tar" $?
try msb import one fromdir && msb tree fromdir >tree.dir &&
    "$tool" - tree-of one >tree.host &&
    diff <(cut -d' ' -f1,2,4- tree.host) <(cut -d' ' -f1,2,4- tree.dir) >log
ok "import of a directory" $?
refuses '--tag' msb load oci-untagged 2>/dev/null || refuses 'oci-untagged' msb load oci-untagged
ok "a path that is not there is named" $?

# ---- refused, each by name, and the store as it was ----
refused() { # WHAT PATTERN COMMAND...
    refuses "${@:2}" && [ -z "$(find "$home/images/layers" "$home/images/blobs" "$home/images/tmp" -type f)" ]
    ok "$1" $?
}
new_home
cp -r oci broken
blobfile=broken/blobs/sha256/$(sha256sum <one.tar.gz | cut -d' ' -f1)
truncate -s -100 "$blobfile"
refused "a truncated layer" 'layer 1' msb load broken
cp one.tar.gz "$blobfile"
printf X | dd of="$blobfile" bs=1 seek=$(($(stat -c %s "$blobfile") - 1)) conv=notrunc status=none
refused "a changed layer" "sha256:$(sha256sum <one.tar.gz | cut -d' ' -f1)" msb load broken
rm -f "$blobfile"
refused "a missing layer" "$(sha256sum <one.tar.gz | cut -d' ' -f1)" msb load broken
rm -rf broken
cp -r oci broken
layout wrong registry.example/t:1 one.tar.gz
sed -i "s/$one/$two/" config.json
read -r hex size < <(blob wrong config.json)
printf '{"schemaVersion":2,"config":{"digest":"sha256:%s","size":%s},"layers":[{"digest":"sha256:%s","size":%s}]}' "$hex" "$size" \
    "$(sha256sum <one.tar.gz | cut -d' ' -f1)" "$(stat -c %s one.tar.gz)" >manifest.json
read -r hex size < <(blob wrong manifest.json)
printf '{"schemaVersion":2,"manifests":[{"digest":"sha256:%s","size":%s}]}' "$hex" "$size" >wrong/index.json
refused "a wrong diff_id says what was expected" "expected digest sha256:$two, got sha256:$one" msb load wrong x
layout notag v1 one.tar
refused "a layout with only a tag" "only the tag 'v1'" msb load notag
refused "a bad name" "image reference 'Bad Name'" msb load oci 'Bad Name'
mkdir empty
refused "an empty directory" 'no image archive' msb load empty
refused "random bytes" 'random' msb load random
head -c 100000 /dev/urandom >random
refused "random bytes that are there" "'random'" msb load random
head -c 50000 oci.tar >cut.tar
refused "a truncated archive" "cut.tar" msb load cut.tar
arch=s390x layout foreign registry.example/t:1 one.tar
refused "an image for another machine" 's390x' msb load foreign

head -c 1200M /dev/zero | zstd -qc >bomb.tar.zst
layout bomb registry.example/t:1 bomb.tar.zst
refused "a decompression bomb" 'layer 1 .*unpacks to more than' msb load bomb

# ---- indexes ----
# index FILE ENTRY...: an image index of "DIGEST SIZE ARCH" entries.
index() {
    local to=$1 list='' entry
    shift
    for entry; do
        read -r hex size machine <<<"$entry"
        list+="${list:+,}{\"digest\":\"sha256:$hex\",\"size\":$size,\"platform\":{\"os\":\"linux\",\"architecture\":\"$machine\"}}"
    done
    printf '{"schemaVersion":2,"manifests":[%s]}' "$list" >"$to"
}
cp -r oci nested
ours=$(sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p' oci/index.json)
ours="$ours $(stat -c %s "oci/blobs/sha256/$ours")"
index inner.json "$(printf '0%.0s' {1..64}) 1 s390x" "$ours $arch"
read -r hex size < <(blob nested inner.json)
printf '{"schemaVersion":2,"manifests":[{"digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":"a/b:c","org.opencontainers.image.ref.name":"c"}}]}' \
    "$hex" "$size" >nested/index.json
new_home
try msb load nested && [ "$(msb tree a/b:c | sha256sum)" = "$want" ]
ok "an index inside the index, by platform" $?
index inner.json "$(printf '0%.0s' {1..64}) 1 s390x"
read -r hex size < <(blob nested inner.json)
index nested/index.json "$hex $size "
new_home
refused "an index without this machine" "no image for linux/$arch (it has: linux/s390x)" msb load nested x
cp -r oci hybrid
sed -i 's|registry.example/t:1|1|' hybrid/index.json
echo '[{"Config":"x","RepoTags":["hybrid:1"],"Layers":[]}]' >hybrid/manifest.json
new_home
try msb load hybrid && msb tree hybrid:1 >/dev/null
ok "docker save's hybrid is named by manifest.json" $?


# ---- a layer twice, with directories it does not describe ----
mkdir -p twice/opt/sub hide
echo x >twice/opt/sub/extra
tar -C twice -cf twice.tar opt/sub/extra
touch hide/.wh.opt
tar -C hide -cf hide.tar .wh.opt
chmod 700 one/opt/sub
tar --sort=name --owner=1000 --group=2000 --format=pax -C one -cf one.700.tar .
layout again again:1 one.700.tar twice.tar hide.tar twice.tar
new_home
try msb load again && [ "$(find "$home/images/layers" -name '*.chained.erofs' | wc -l)" = 2 ] &&
    msb tree again:1 | grep -q '^opt/sub 040755 0:0 '
ok "a layer twice, each time with what is below it" $?
layout once once:1 one.700.tar twice.tar
try msb load once && msb tree once:1 | grep -q '^opt/sub 040700 1000:2000 '
ok "and shared with an image that begins alike" $?

# ---- hard links to what is in a layer below ----
link_layer() { # TAR LINK TARGET [WHITEOUT]
    python3 - "$@" <<'PY'
import sys, tarfile
with tarfile.open(sys.argv[1], "w") as tar:
    for name in sys.argv[4:]:
        tar.addfile(tarfile.TarInfo(name))
    link = tarfile.TarInfo(sys.argv[2])
    link.type, link.linkname = tarfile.LNKTYPE, sys.argv[3]
    tar.addfile(link)
PY
}
if command -v python3 >/dev/null; then
    link_layer link.tar usr/share/again ./usr/share/doc/big
    layout linked linked:1 one.tar link.tar
    new_home
    try msb load linked && msb tree linked:1 >tree.linked &&
        [ "$(sed -n 's|^usr/share/doc/big ||p' tree.linked)" = "$(sed -n 's|^usr/share/again ||p' tree.linked)" ] &&
        grep -q '^usr/share/again 100644 1000:2000 .* links=2 size=300000 ' tree.linked
    ok "a hard link to a file of the layer below" $?
    new_home
    link_layer link.tar usr/share/again etc/passwd etc/.wh.passwd
    layout hidden hidden:1 one.tar link.tar
    refused "not to one that the layer takes away" "entry 'usr/share/again': a hard link to 'etc/passwd'" msb load hidden
    link_layer link.tar usr/share/again etc/shadow
    layout nowhere nowhere:1 one.tar link.tar
    refused "nor to one that is not there" "a hard link to 'etc/shadow'" msb load nowhere
    link_layer link.tar usr/share/again usr/share
    layout dirlink dirlink:1 one.tar link.tar
    refused "nor to a directory" "a hard link to 'usr/share'" msb load dirlink

    # Through a directory that is a symbolic link in a layer below.
    mkdir ways && ln -s ../../../usr/share ways/up && ln -s /ways/up ways/abs && ln -s loop ways/loop && ln -s doc ways/gone
    tar --sort=name -cf ways.tar ways
    link_layer link.tar usr/share/again ways/abs/doc/big
    layout ways ways:1 one.tar ways.tar link.tar
    new_home
    try msb load ways && msb tree ways:1 >tree.ways &&
        [ "$(sed -n 's|^usr/share/doc/big ||p' tree.ways)" = "$(sed -n 's|^usr/share/again ||p' tree.ways)" ] &&
        grep -q '^usr/share/again 100644 1000:2000 .* links=2 size=300000 ' tree.ways
    ok "a hard link through links to directories, which end at the root" $?
    new_home
    for target in ways/loop/file ways/gone/big ways/abs/doc ways/up/doc/big/big; do
        link_layer link.tar again $target
        layout "no-${target//\//-}" no:1 one.tar ways.tar link.tar
        refused "not through $target" "entry 'again': a hard link to '$target'" msb load "no-${target//\//-}"
    done
else
    skip "a hard link to a file of the layer below" "python3 is not installed"
fi

# ---- in use ----
new_home
try msb load oci
digest=$(msb ls | cut -d' ' -f2)
mkdir -p "$home/sandboxes/busy"
printf '{"version":1,"name":"busy","image_digest":"%s"}' "$digest" >"$home/sandboxes/busy/config.json"
refuses 'busy' msb rm registry.example/t:1
ok "an image that a sandbox uses is not removed" $?
try msb load docker other && try msb load docker registry.example/t:1 && try msb tree "$digest"
ok "it is kept for the sandbox when its name goes to another" $?
rm -r "$home/sandboxes/busy"
try msb rm registry.example/t:1
ok "it is when the sandbox is gone" $?

# ---- at the same time, and interrupted ----
new_home
pids=()
for i in 1 2 3 4; do msb load oci.tar "t$i" >"log.$i" 2>&1 & pids+=($!); done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
cat log.? >log
[ $status = 0 ] && [ "$(msb ls | wc -l)" = 4 ] && [ "$(find "$home/images/layers" -name '*.erofs' | wc -l)" = 2 ]
ok "four loads of one image at once" $?

new_home
status=0
for i in $(seq 1 40); do
    msb load oci.tar t >log 2>&1 &
    pid=$!
    { read -rt "0.0$((i % 5))$((i % 10))" <> <(:); kill -9 $pid; } 2>/dev/null
    { wait $pid; } 2>/dev/null
    msb ls >log 2>&1 || status=1
    if msb inspect t >/dev/null 2>&1; then
        [ "$(msb tree t | sha256sum)" = "$want" ] || status=1
        try msb rm t || status=1
    fi
done
try msb load oci.tar t && [ "$(msb tree t | sha256sum)" = "$want" ] || status=1
msb rm t
[ -z "$(find "$home/images/layers" "$home/images/blobs" "$home/images/tmp" -type f)" ] || status=1
ok "kill -9 of a load at any moment leaves the store whole" $status

# ---- umoci is the judge ----
# The root's own attributes are left out: in a sandbox they are the upper disk's.
as_umoci_does() { # LAYOUT:TAG
    umoci unpack --image "$1" unpacked && "$tool" - tree-of unpacked/rootfs | grep -v '^ ' >want &&
        new_home && msb load "${1%:*}" judged && msb tree judged | grep -v '^ ' >got && diff want got
}

make_judged_image() {
    local root=bundle/rootfs
    umoci init --layout judge && umoci new --image judge:latest && umoci unpack --image judge:latest bundle || return
    cp -a one/. $root && mknod $root/opt/device b 7 300 && chmod 4755 $root/etc/passwd || return
    mkdir -p $root/deep/er && echo 1 >$root/deep/er/1 && chmod 1777 $root/deep && chown 7:8 $root/deep/er || return
    command -v setcap >/dev/null && setcap cap_net_raw+ep $root/opt/old
    command -v setfattr >/dev/null && setfattr -n user.test -v value $root/deep
    umoci repack --refresh-bundle --image judge:latest bundle || return
    rm -r $root/opt/sub $root/opt/gone && mkdir $root/opt/sub && echo 2 >$root/opt/sub/2 || return
    ln $root/usr/share/doc/big $root/usr/share/doc/big2 && echo 3 >$root/deep/er/3 || return
    umoci repack --refresh-bundle --image judge:latest bundle || return
    ln -sfn deeper $root/deep/er/link && rm $root/opt/link && mkdir $root/opt/link || return
    umoci repack --image judge:latest bundle
}

if [ "$(id -u)" != 0 ] || ! command -v umoci >/dev/null; then
    skip "three layers, as umoci unpacks them" "needs root and umoci"
    skip "the Debian image, as umoci unpacks it" "needs root and umoci"
else
    try make_judged_image && try as_umoci_does judge:latest
    ok "three layers, as umoci unpacks them" $?
    find "$home/images/layers" -name '*.chained.erofs' | grep -q .
    ok "a layer with directories it does not describe depends on those below" $?
    if [ -d "${MSB_TEST_DEBIAN_OCI-}" ]; then
        rm -rf unpacked
        try as_umoci_does "$MSB_TEST_DEBIAN_OCI:$(umoci ls --layout "$MSB_TEST_DEBIAN_OCI" | head -n 1)"
        ok "the Debian image, as umoci unpacks it" $?
    else
        skip "the Debian image, as umoci unpacks it" "\$MSB_TEST_DEBIAN_OCI is not set"
    fi
fi
echo "1..$count"
[ $failed = 0 ]
