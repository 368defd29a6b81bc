#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images on their way out: save and push, judged by skopeo; what prune and rm leave alone; and the store under
# processes that are killed and that want the same.
set -u
. "${abs_top_srcdir:?}/tests/registry/lib.bash"
export MSB_BUILDDIR=${abs_top_builddir:?} MSB_SRCDIR=$abs_top_srcdir LC_ALL=C.UTF-8
msb() { "$MSB_BUILDDIR/src/msb/msb" "$@"; }
# It unpacks archives as root would, whom an ordinary user has to be for that.
skopeo() {
    if [ "$(id -u)" = 0 ]; then command skopeo "$@"; else unshare --map-root-user skopeo "$@"; fi
}
skopeo_digest() { skopeo inspect --tls-verify=false --format '{{.Digest}}' "$@"; }
tree() { (cd "$MSB_HOME/images" && find . -type f ! -name '*lock' ! -path './tmp/*' -printf '%P %s\n' | LC_ALL=C sort); }
image=registry.example/team/image:1

# Two layers, one larger than a chunk of an upload, one compressed by zstd.
mkdir -p "$tmp/one/etc" "$tmp/two"
echo root:x:0:0 >"$tmp/one/etc/passwd"
head -c 36M /dev/urandom >"$tmp/one/noise"
echo two >"$tmp/two/file"
tar --sort=name --owner=0 --group=0 --mtime=@1 -C "$tmp/one" -cf "$tmp/one.tar" .
tar --sort=name --owner=0 --group=0 --mtime=@1 -C "$tmp/two" -cf "$tmp/two.tar" .
python3 - "$tmp" <<'PY'
import gzip, hashlib, json, os, platform, subprocess, sys
tmp = sys.argv[1]
layout = tmp + "/oci"
os.makedirs(layout + "/blobs/sha256")
def blob(data, media_type):
    digest = hashlib.sha256(data).hexdigest()
    open(layout + "/blobs/sha256/" + digest, "wb").write(data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}
one, two = (open(tmp + "/" + n, "rb").read() for n in ("one.tar", "two.tar"))
base = "application/vnd.oci.image."
layers = [blob(gzip.compress(one, 1, mtime=0), base + "layer.v1.tar+gzip"),
          blob(subprocess.run(["zstd", "-qc"], input=two, capture_output=True, check=True).stdout, base + "layer.v1.tar+zstd")]
arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
config = blob(json.dumps({"os": "linux", "architecture": arch, "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers",
    "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in (one, two)]},
    "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "first \u001b[31m step"},
                {"created_by": "ENV x", "empty_layer": True}, {"created_by": "second step"}]}).encode(), base + "config.v1+json")
manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": base + "manifest.v1+json", "config": config, "layers": layers},
                           indent=3).encode(), base + "manifest.v1+json")
manifest["annotations"] = {"org.opencontainers.image.ref.name": "registry.example/team/image:1"}
json.dump({"schemaVersion": 2, "manifests": [manifest]}, open(layout + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(layout + "/oci-layout", "w"))
print(manifest["digest"], file=open(tmp + "/digest", "w"))
PY
digest=$(cat "$tmp/digest")
want=$image works "the image is loaded" msb load -q "$tmp/oci"
loaded=$(tree)

# ---- save ----
cd "$tmp" || exit 99
want=
works "saved as an OCI archive" msb save -q -o oci.tar "$image"
want=$digest works "skopeo finds the same manifest in it" skopeo_digest oci-archive:oci.tar
msb save -q "$image" >stream.tar && cmp oci.tar stream.tar >/dev/null
out=
[ $? = 0 ] && pass "on standard output, the same bytes" || fail "on standard output, the same bytes"
works "saved as an OCI layout in a directory" msb save -q --format=oci-dir --output=layout/ "$image"
want=$digest works "skopeo finds the same manifest in that" skopeo_digest oci:layout
out=$(diff -r layout/blobs oci/blobs 2>&1) && pass "and every blob is what it was" || fail "and every blob is what it was"
works "saved as a docker archive" msb save -q --format=docker-archive -o docker.tar "$image"
works "skopeo takes it" skopeo copy -q --insecure-policy docker-archive:docker.tar oci:from-docker:latest
works "and the OCI archive" skopeo copy -q --insecure-policy oci-archive:oci.tar oci-archive:from-oci.tar:x/y:1
works "saved as a docker archive's directory" msb save -q --format=docker-dir -o docker "$image"
fails "a directory that is not empty is refused" "'docker' is not empty" msb save -q --format=docker-dir -o docker "$image"
fails "an image that is not there" "nosuch" msb save -q -o missing.tar "$image" nosuch
fails "a place that is not there" "nowhere/x.tar.*No such file" msb save -q -o nowhere/x.tar "$image"
full=$(mknod "$tmp/full" c 1 7 2>/dev/null && echo "$tmp/full" || echo /dev/full)
fails "a full disk" "No space left" msb save -q -o "$full" "$image"
[ -c "$full" ] && pass "a device is written to, not replaced" || fail "a device is written to, not replaced"
out=$(compgen -G 'missing*' ; compgen -G '*.??????')
[ -z "$out" ] && pass "and nothing is left of what failed" || fail "and nothing is left of what failed"
for from in oci.tar layout docker.tar docker from-oci.tar; do
    before=$MSB_HOME
    export MSB_HOME=$tmp/home-$from
    works "$from is loaded again" msb load -q -t again:1 "$from"
    out=$(find "$MSB_HOME/images/layers" -type f | sort | xargs sha256sum | cut -d' ' -f1)
    [ "$out" = "$(find "$before/images/layers" -type f | sort | xargs sha256sum | cut -d' ' -f1)" ] &&
        pass "and has the same layers" || fail "and has the same layers"
    rm -rf "$MSB_HOME"
    export MSB_HOME=$before
done
sed -i "s|registry.example/team/image:1|registry.example/team/image@sha256:$(printf '0%.0s' {1..64})|" layout/index.json
fails "a name that pins what the image is not" "whose digest is $digest" msb load -q layout
out=$(tree)
[ "$out" = "$loaded" ] && pass "leaves the store as it was" || fail "leaves the store as it was"
blobfile=$MSB_HOME/images/blobs/sha256/$(sed -n 's/.*tar+zstd", *"digest": *"sha256:\([0-9a-f]*\).*/\1/p' <(tr -d '\n' <"$MSB_HOME/images/blobs/sha256/${digest#sha256:}"))
cp "$blobfile" good.zst
printf X | dd of="$blobfile" bs=1 seek=30 conv=notrunc status=none
fails "a blob that broke in the store is not passed on" "expected digest" msb save -q -o broken.tar "$image"
[ ! -e broken.tar ] && pass "not even by half" || fail "not even by half"
cp good.zst "$blobfile"

# ---- history, tag ----
out=$(msb image history "$image")
[[ $out == *"second step"*"ENV x"*"first "*"step"* && $out != *$'\033'* ]] && pass "history, the last step first" || fail "history, the last step first"
out=$(msb image history --format=json "$image" | python3 -c 'import json, sys; print([(s["created_at"], bool(s["diff_id"])) for s in json.load(sys.stdin)])')
[ "$out" = "[(None, True), (None, False), ('2026-01-02T03:04:05Z', True)]" ] && pass "history as JSON" || fail "history as JSON"

# ---- push ----
start_registry plain
plain=$port
fails "push says which image is missing" "nosuch" msb push -q --insecure nosuch
want="127.0.0.1:$plain/team/image:1@$digest" works "pushed, in chunks" msb push -q --insecure "$image" "127.0.0.1:$plain/team/image:1"
want=$digest works "skopeo finds the same manifest" skopeo_digest "docker://127.0.0.1:$plain/team/image:1"
want=
works "tagged for another repository" msb image tag "$image" "127.0.0.1:$plain/team/image:1"
msb image tag "$image" "127.0.0.1:$plain/other/name:2"
fails "a digest is no tag" "pins a digest" msb image tag "$image" "x@$digest"
faulty
h=127.0.0.1:$proxy
requests() { python3 -c 'import json, sys, urllib.request; print("\n".join(json.load(urllib.request.urlopen("http://127.0.0.1:%s/requests" % sys.argv[1]))))' "$proxy"; }
msb image tag "$image" "$h/team/image:1"
works "pushed to another repository" msb push -q --insecure "$image" "$h/other/name:2"
out=$(requests)
[[ $out == *"POST /v2/other/name/blobs/uploads/?mount="*"from=team/image"* && $out != *PATCH* ]] && pass "its blobs are mounted, not sent" || fail "its blobs are mounted, not sent"
works "pushed again" msb push -q --insecure "$image" "$h/other/name:3"
for mode in nomount upcut up503 fail5 slow429; do
    want="$h/fault/$mode/up/$mode:1@$digest" works "push: $mode" msb push -q --insecure "$image" "$h/fault/$mode/up/$mode:1"
    want=$digest works "push: $mode, skopeo finds it" skopeo_digest "docker://127.0.0.1:$plain/up/$mode:1"
done
want=
fails "a registry that always fails" "answers 500" msb push -q --insecure "$image" "$h/fault/always500/x"
faulty --token
h=127.0.0.1:$proxy
fails "push without credentials" "refuses access|msb registry login" msb push -q --insecure "$image" "$h/tok/image:1"
printf secret | msb registry login --insecure --username=user "$h"
works "push with a token" msb push -q --insecure "$image" "$h/tok/image:1"
works "to where uploads go to another host" msb push -q --insecure "$image" "$h/fault/elsewhere/away/image:1"
out=$(python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:%s/leaks" % sys.argv[1]).read().decode())' "$proxy")
[[ $out == '[null'* && $out != *Bearer* ]] && pass "credentials do not go there" || fail "credentials do not go there"

# ---- who needs what ----
mkdir -p "$MSB_HOME/sandboxes/stopped" "$MSB_HOME/snapshots/kept"
printf '{"version":1,"name":"stopped","image":"x","image_digest":"%s"}' "$digest" >"$MSB_HOME/sandboxes/stopped/config.json"
works "a name beside others goes, whoever uses the image" msb image rm "127.0.0.1:$plain/team/image:1"
fails "its digest stands for all names" "more than one name.*registry.example/team/image:1.*--force" msb image rm "$digest"
for name in $(msb image ls -q | grep -v "^$image\$"); do msb image rm -q "$name"; done
fails "rm says which sandbox needs the image" "used by sandbox stopped" msb image rm "$image"
fails "by its digest too" "used by sandbox stopped" msb image rm "${digest:7:12}"
rm -r "$MSB_HOME/sandboxes/stopped"
printf '{"version":1,"image":{"ref":"x","manifest_digest":"%s"}}' "$digest" >"$MSB_HOME/snapshots/kept/snapshot.json"
fails "and which snapshot" "used by snapshot kept" msb image rm "$image"
msb image tag "$image" "x/y:1"
works "rm --force of a digest takes all names" msb image rm --force "$digest"
fails "and the image is not in the list any more" "not in the store" msb image inspect "$image"
msb load -q "$tmp/oci" >/dev/null
msb import -q "$tmp/two.tar" unused:1 >/dev/null
all=$(tree)
out=$(msb image prune --dry-run 2>/dev/null)
[ "$out" = "docker.io/library/unused:1" ] && pass "prune --dry-run names what nothing needs" || fail "prune --dry-run names what nothing needs"
out=$(tree)
[ "$out" = "$all" ] && pass "and removes nothing" || fail "and removes nothing"
fails "without a terminal it wants --yes" "--yes" msb image prune
mkdir -p "$MSB_HOME/kernel/6.1" && ln -s 6.1 "$MSB_HOME/kernel/default"
out=$(msb df --format=json | python3 -c 'import json, sys; d = {k["kind"]: k for k in json.load(sys.stdin)}; print(d["images"]["count"] > d["images"]["active"] > 0, 0 < d["images"]["reclaimable_bytes"] < d["images"]["size_bytes"], d["snapshots"]["count"], d["kernels"]["count"])')
[ "$out" = "True True 1 1" ] && pass "df tells what prune would free" || fail "df tells what prune would free"
out=$(msb image prune --yes 2>/dev/null)
[ "$out" = "docker.io/library/unused:1" ] && msb image ls | grep -q "^$image" && pass "prune keeps what a snapshot needs" || fail "prune keeps what a snapshot needs"
printf '{' >"$MSB_HOME/snapshots/kept/snapshot.json"
all=$(tree)
fails "a snapshot that cannot be read stops prune" "snapshot.json" msb image prune --yes
out=$(tree)
[ "$out" = "$all" ] && pass "and nothing is lost" || fail "and nothing is lost"
rm -r "$MSB_HOME/snapshots/kept"
msb image prune --yes >/dev/null 2>&1
out=$(tree | grep -v '^index.json')
[ -z "$out" ] && pass "prune without users empties the store" || fail "prune without users empties the store"

# ---- several at once, and killed ----
want=
faulty
h=127.0.0.1:$proxy
for i in 1 2; do msb pull -q --insecure "$h/team/image:1" >"pull.$i" 2>&1 & shared[i]=$!; done
wait "${shared[1]}" && wait "${shared[2]}"
status=$?
out=$(cat pull.?; requests | grep -c 'GET .*/blobs/')
[ $status = 0 ] && [ "$(tail -n 1 <<<"$out")" -le 4 ] && pass "two pulls of an image at once share the work" || fail "two pulls of an image at once share the work"
msb image rm -q "$h/team/image:1"
loops=15
[ -z "${MSB_TEST_LONG-}" ] || loops=200
good=yes
for ((i = 0; i < loops; i++)); do
    msb pull -q --insecure "127.0.0.1:$plain/team/image:1" >/dev/null 2>&1 &
    pid=$!
    read -r -t "0.$(printf %03d $((i * 37 % 450)))" <> <(:) || :
    { kill -9 $pid; wait $pid; } 2>/dev/null
    out=$(msb image ls -q 2>&1) || { good="no: $out"; break; }
    # Every blob of the store is what its name says, every image is whole.
    for file in "$MSB_HOME"/images/blobs/sha256/*; do
        [ ! -e "$file" ] || [ "$(sha256sum <"$file" | cut -d' ' -f1)" = "$(basename "$file")" ] || good="no: $file"
    done
done
out=$good
[ "$good" = yes ] && pass "killed $loops times, the store is consistent" || fail "killed $loops times, the store is consistent"
works "and the image can be had" msb pull -q --insecure "127.0.0.1:$plain/team/image:1"
msb image rm -q "127.0.0.1:$plain/team/image:1"
out=$(tree | grep -v '^index.json'; find "$MSB_HOME/images/tmp" -mindepth 1)
[ -z "$out" ] && pass "and nothing is left when it is removed" || fail "and nothing is left when it is removed"
msb load -q "$tmp/oci" >/dev/null
all=$(tree)
good=yes
for ((i = 0; i < loops / 3; i++)); do
    msb push -q --insecure "$image" "127.0.0.1:$plain/killed/$i:1" >/dev/null 2>&1 &
    pid=$!
    read -r -t "0.$(printf %03d $((i * 61 % 450)))" <> <(:) || :
    { kill -9 $pid; wait $pid; } 2>/dev/null
    out=$(tree)
    [ "$out" = "$all" ] || good=no
done
[ $good = yes ] && pass "a push that is killed leaves the store as it was" || fail "a push that is killed leaves the store as it was"
want="127.0.0.1:$plain/killed/0:1@$digest" works "and goes through the next time" msb push -q --insecure "$image" "127.0.0.1:$plain/killed/0:1"
echo "1..$count"
[ "$failed" = 0 ]
