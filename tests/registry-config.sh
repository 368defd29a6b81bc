#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What $MSB_HOME/config.json says: limits, patience, mirrors; the environment's proxies; HTTP/2; and the choice by
# platform.
set -u
. "${abs_top_srcdir:?}/tests/registry/lib.bash"
export MSB_BUILDDIR=${abs_top_builddir:?} LC_ALL=C.UTF-8
unset HTTPS_PROXY ALL_PROXY all_proxy NO_PROXY no_proxy
msb() { "$MSB_BUILDDIR/src/msb/msb" "$@"; }
config() { mkdir -p "$MSB_HOME" && printf '%s' "$1" >"$MSB_HOME/config.json"; }
tree() { (cd "$MSB_HOME/images" 2>/dev/null && find . -type f ! -name '*lock' | LC_ALL=C sort); }
requests() { python3 -c 'import json, sys, urllib.request; print("\n".join(json.load(urllib.request.urlopen("http://127.0.0.1:%s/requests" % sys.argv[1]))))' "$proxy"; }
forget() { for name; do msb image rm -q "$name"; done; }

# One image: two layers, one compressible.
umoci init --layout "$tmp/oci" && umoci new --image "$tmp/oci:latest"
mkdir "$tmp/l" && head -c 3000000 /dev/zero >"$tmp/l/zeros" && for i in 1 2 3 4; do echo $i >"$tmp/l/$i"; done
tar -C "$tmp/l" -cf "$tmp/l.tar" . && umoci raw add-layer --image "$tmp/oci:latest" "$tmp/l.tar" >/dev/null 2>&1
head -c 300000 /dev/urandom >"$tmp/l/zeros" && tar -C "$tmp/l" -cf "$tmp/l.tar" zeros && umoci raw add-layer --image "$tmp/oci:latest" "$tmp/l.tar" >/dev/null 2>&1
start_registry plain
plain=$port
skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$tmp/oci:latest" "docker://127.0.0.1:$plain/team/image:1" || { echo "Bail out! skopeo cannot push"; exit 99; }
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://127.0.0.1:$plain/team/image:1")
faulty
h=127.0.0.1:$proxy

# ---- the file ----
config '{"limits": {"layer_byte": 5}}'
fails "a limit whose name is misspelt is an error" "config.json: limits.*layer_byte" msb pull -q --insecure "$h/team/image:1"
config '{"transfers": {"stall_seconds": "soon"}}'
fails "and a value of the wrong type" "config.json: transfers.*stall_seconds" msb pull -q --insecure "$h/team/image:1"
config '{"registries": {"hosts": {"x": {"mirrors": ["ftp://x"]}}}}'
fails "and a mirror that is no address" "config.json: registries.hosts.x.*ftp://x" msb pull -q --insecure "$h/team/image:1"
config '[]'
fails "and what is no object" "config.json" msb pull -q --insecure "$h/team/image:1"
config '{"log_level": "warn"}'
works "members of others are not looked at" msb pull -q --insecure "$h/team/image:1"
forget "$h/team/image:1"

# ---- limits ----
before=$(tree)
limit() { # NAME JSON REGEX
    config "{\"limits\": {$2}}"
    fails "$1" "layer .*$3.*config.json" msb pull -q --insecure "$h/team/image:1"
    fails "$1, of an archive" "layer .*$3.*config.json" msb load -q -t x "$tmp/oci"
}
limit "too many bytes in a layer" '"layer_bytes": 1000000' "(unpacks to more than|becomes larger than the limit of) 1000000 bytes.*limits.layer_bytes"
limit "too many bytes in an image" '"image_bytes": 3200000' "more than 3200000 bytes, with the other layers.*limits.image_bytes"
limit "too much out of too little" '"layer_ratio": 5, "layer_ratio_after": 20000' "more than 5 times.*limits.layer_ratio"
config '{"limits": {"layer_entries": 4}}'
fails "too many entries" "layer .*more than 4 entries.*limits.layer_entries" msb pull -q --insecure "$h/team/image:1"
out=$(tree)
[ "$out" = "$before" ] && pass "none of them leaves anything behind" || fail "none of them leaves anything behind"
config '{"limits": {"layer_bytes": 4000000, "image_bytes": 4000000, "layer_ratio": 1000, "layer_ratio_after": 20000, "layer_entries": 6}}'
works "limits that suffice" msb pull -q --insecure "$h/team/image:1"
forget "$h/team/image:1"

# ---- connections ----
connections() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:%s/connections" % sys.argv[1]).read().decode())' "$proxy"; }
# used NAME MOST COMMAND...: it takes MOST connections at most.
used() {
    local name=$1 most=$2 begin
    shift 2
    begin=$(connections)
    out=$("$@" 2>&1) || { fail "$name"; return; }
    out="$(($(connections) - begin - 1)) connections; $out"
    [ "${out%% *}" -ge 1 ] && [ "${out%% *}" -le "$most" ] && pass "$name" || fail "$name"
}
umoci init --layout "$tmp/many" && umoci new --image "$tmp/many:latest"
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    echo $i >"$tmp/l/1" && tar -C "$tmp/l" -cf "$tmp/l.tar" 1 && umoci raw add-layer --image "$tmp/many:latest" "$tmp/l.tar" >/dev/null 2>&1
done
config '{"transfers": {"parallel": 2}}'
msb load -q -t "$h/team/many:1" "$tmp/many" >/dev/null
used "a push of 12 layers, two at a time, takes two connections" 2 msb push -q --insecure "$h/team/many:1"
msb image rm -q -f "$h/team/many:1"
used "as does a pull" 2 msb pull -q --insecure "$h/team/many:1"
forget "$h/team/many:1"
config '{"transfers": {"parallel": 1}}'
used "one at a time, one" 1 msb pull -q --insecure "$h/team/many:1"
forget "$h/team/many:1"

# ---- a server that takes its time, or says too much or too little ----
config '{"transfers": {"stall_seconds": 1, "retries": 1, "parallel": 2}}'
fails "a server that stalls is given up" "fault/stall.*(too slow|[Tt]imeout|timed out)" msb pull -q --insecure "$h/fault/stall/team/image:1"
fails "a manifest without an end" "larger than" msb pull -q --insecure "$h/fault/huge/team/image:1"
fails "a blob that is shorter than its manifest says" "ends after|answers 416|became shorter" msb pull -q --insecure "$h/fault/short/team/image:1"
fails "a blob that is longer" "longer than" msb pull -q --insecure "$h/fault/long/team/image:1"
works "429 is tried again when Retry-After says" msb pull -q --insecure "$h/fault/wait429/team/image:1"
forget "$h/fault/wait429/team/image:1"
out=$(tree)
[ "$out" = "$before" ] && pass "and the store is as it was" || fail "and the store is as it was"

# ---- progress ----
config '{}'
layers=$(skopeo inspect --raw --tls-verify=false "docker://127.0.0.1:$plain/team/image:1" |
    python3 -c 'import json, sys; print(*(l["digest"][7:19] for l in json.load(sys.stdin)["layers"]))')
out=$(msb pull --insecure "$h/team/image:1" 2>&1 >/dev/null)
good=yes
for layer in $layers; do [ "$(grep -c "^$layer: [0-9]" <<<"$out")" = 1 ] && [ "$(grep -c "^$layer: done$" <<<"$out")" = 1 ] || good=no; done
[ $good = yes ] && [ "$(wc -l <<<"$out")" = 4 ] && pass "a line when a layer begins and when it is done" || fail "a line when a layer begins and when it is done"
forget "$h/team/image:1"
out=$(msb pull -q --insecure "$h/team/image:1" 2>&1 >/dev/null)
[ -z "$out" ] && pass "nothing with -q" || fail "nothing with -q"
forget "$h/team/image:1"
out=$(TERM=vt220 python3 - "$MSB_BUILDDIR/src/msb/msb" pull --insecure "$h/team/image:1" <<'PY'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
data = b""
while True:
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    data += piece
print(os.waitpid(pid, 0)[1], ascii(data.decode()))
PY
)
good=yes
for layer in $layers; do [[ $out == *"$layer  [########################] "* ]] || good=no; done
[ $good = yes ] && [[ $out == "0 "*"0 of 2  [........"*"2 of 2  [########################]"*"x1b[A"*"x1b[J"* ]] && pass "bars on a terminal, for each and for all" || fail "bars on a terminal, for each and for all"
forget "$h/team/image:1"

# ---- mirrors ----
mirrors() { # ADDRESS...: those of $h
    local list
    printf -v list '"%s",' "$@"
    config "{\"transfers\": {\"stall_seconds\": 1, \"retries\": 2}, \"registries\": {\"hosts\": {\"$h\": {\"insecure\": true, \"mirrors\": [${list%,}]}}}}"
}
mirrors
config "{\"registries\": {\"hosts\": {\"$h\": {\"insecure\": true}}}}"
want="$h/team/image:1@$digest" works "a registry that the settings call insecure" msb pull -q "$h/team/image:1"
forget "$h/team/image:1"
seen=$(requests | wc -l)
mirrors "http://127.0.0.1:1" "http://127.0.0.1:$plain/"
want="$h/team/image:1@$digest" works "a mirror that is not there, then one that is" msb pull -q "$h/team/image:1"
out=$(requests | tail -n +$((seen + 1)))
[ -z "$out" ] && pass "the registry itself is not asked" || fail "the registry itself is not asked"
forget "$h/team/image:1"
mirrors "http://127.0.0.1:$plain/no/such"
want="$h/team/image:1@$digest" works "a mirror without the image" msb pull -q "$h/team/image:1"
forget "$h/team/image:1"
mirrors "http://$h/fault/stall" "http://$h/fault/cut"
want="$h/team/image:1@$digest" works "a mirror that stalls in the middle of a layer" msb pull -q "$h/team/image:1"
out=$(requests | grep -c "fault/stall/team/image/blobs"; requests | grep "fault/cut/team/image/blobs")
[ "$(head -n 1 <<<"$out")" -ge 1 ] && [ "$(wc -l <<<"$out")" -ge 2 ] && pass "the next one takes over" || fail "the next one takes over"
forget "$h/team/image:1"
# says NAME REGEX...: $out has a line for each.
says() { local n=$1 r good=yes; shift; for r; do grep -qE -- "$r" <<<"$out" || good=no; done; [ $good = yes ] && pass "$n" || fail "$n"; }
lied() { printf 'warning: mirror http://%s/fault/%s: a blob of .team/image. has not its digest: expected sha256:[0-9a-f]{64}, got sha256:' "$h" "$1"; }
mirrors "http://$h/fault/lie" "http://$h/fault/liefirst"
works "mirrors that lie: the registry itself is asked" msb pull -q "$h/team/image:1"
says "with a warning for each" "$(lied lie)" "$(lied liefirst)" "^$h/team/image:1@$digest$"
[ "$(grep -c warning <<<"$out")" = 2 ] && pass "and they are not asked again" || fail "and they are not asked again"
forget "$h/team/image:1"
mirrors "http://$h/fault/liebreak" "http://127.0.0.1:$plain"
works "a mirror that lies and breaks off" msb pull -q "$h/team/image:1"
says "is named with those that went on" "warning: mirror http://$h/fault/liebreak, with those after it: .*expected .*got " "^$h/team/image:1@$digest$"
forget "$h/team/image:1"
mirrors "http://$h/fault/liemani" "http://$h/fault/garbage"
works "mirrors that lie about the manifest" msb pull -q "$h/team/image@$digest"
says "are named too" "warning: mirror http://$h/fault/liemani: .*expected $digest, got sha256:" "warning: mirror http://$h/fault/garbage: "
forget "$h/team/image@$digest"
mirrors "http://$h/fault/garbage"
works "a mirror that answers with something else than a manifest" msb pull -q "$h/team/image:1"
forget "$h/team/image:1"
before=$(tree)
mirrors "http://$h/fault/liefirst"
fails "when all lie it fails, and all are named" "expected digest.*got.*mirror http://$h/fault/liefirst: got sha256:" msb pull -q "$h/fault/lie/team/image:1"
out=$(tree)
[ "$out" = "$before" ] && pass "and leaves nothing behind" || fail "and leaves nothing behind"
mirrors "http://127.0.0.1:1" "http://$h/fault/always500"
fails "when all fail, all are named" "has no 'team/image:2'.*mirror http://127.0.0.1:1:.*mirror http://$h/fault/always500: .*500" msb pull -q "$h/team/image:2"
want="$h/pushed:1@$digest"
msb load -q -t "$h/pushed:1" "$tmp/oci" >/dev/null
works "a push goes to the registry itself" msb push -q "$h/pushed:1"
want=
forget "$h/pushed:1"

# ---- proxies ----
config '{"transfers": {"retries": 1}}'
exec {fd}< <(exec python3 "$here/proxy.py" "$tmp/forward.log" me:pw)
pids+=($!)
read -r -t 120 -u "$fd" forward
http_proxy=http://me:pw@127.0.0.1:$forward works "through a proxy that wants to know who we are" msb pull -q --insecure "127.0.0.1:$plain/team/image:1"
out=$(cat "$tmp/forward.log")
[[ $out == *"GET http://127.0.0.1:$plain/v2/team/image/blobs/"* ]] && pass "layers too" || fail "layers too"
forget "127.0.0.1:$plain/team/image:1"
: >"$tmp/forward.log"
http_proxy=http://me:pw@127.0.0.1:$forward no_proxy=127.0.0.1 works "not where no_proxy says" msb pull -q --insecure "127.0.0.1:$plain/team/image:1"
out=$(cat "$tmp/forward.log")
[ -z "$out" ] && pass "the proxy hears nothing of it" || fail "the proxy hears nothing of it"
forget "127.0.0.1:$plain/team/image:1"
http_proxy=http://127.0.0.1:$forward fails "a proxy that refuses" "407" msb pull -q --insecure "127.0.0.1:$plain/team/image:1"
http_proxy=http://127.0.0.1:1 fails "a proxy that is not there" "127.0.0.1.*port 1" msb pull -q --insecure "127.0.0.1:$plain/team/image:1"

# ---- TLS: HTTP/2, and through a proxy's tunnel ----
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout "$tmp/key.pem" -out "$tmp/cert.pem" -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
start_registry tls "  tls: {certificate: $tmp/cert.pem, key: $tmp/key.pem}"
tls=localhost:$port
config "{\"registries\": {\"hosts\": {\"$tls\": {\"ca_certs\": \"$tmp/cert.pem\"}}}}"
https_proxy=http://me:pw@127.0.0.1:$forward works "TLS through the proxy's tunnel, by the settings' authority" msb pull -q "$tls/team/image:1"
grep -q "^CONNECT $tls" "$tmp/forward.log" && pass "it was asked to connect" || fail "it was asked to connect"
forget "$tls/team/image:1"
config "{\"transfers\": {\"parallel\": 2}, \"registries\": {\"hosts\": {\"$tls\": {\"ca_certs\": \"$tmp/cert.pem\"}}}}"
: >"$tmp/forward.log"
https_proxy=http://me:pw@127.0.0.1:$forward works "12 layers by HTTP/2" msb pull -q "$tls/team/many:1"
out=$(grep "^CONNECT $tls" "$tmp/forward.log")
[ "$(wc -l <<<"$out")" -le 2 ] && pass "through two tunnels" || fail "through two tunnels"
forget "$tls/team/many:1"
works "and without it" msb pull -q "$tls/team/image:1"
within 60 grep -q '"GET /v2/team/image/blobs' "$tmp/tls.log" # which the registry writes when it has answered
out=$(grep -h '"GET /v2/team/image/blobs' "$tmp/tls.log")
[[ $out == *HTTP/2.0* && $out != *HTTP/1* ]] && pass "where the server has HTTP/2 it is used" || fail "where the server has HTTP/2 it is used"
forget "$tls/team/image:1"
config "{\"registries\": {\"ca_certs\": \"$tmp/cert.pem\"}}"
works "an authority for all registries" msb pull -q "$tls/team/image:1"
forget "$tls/team/image:1"

# ---- platforms ----
rm "$MSB_HOME/config.json"
python3 - "$plain" "$digest" "$tmp" <<'PY'
import hashlib, json, platform, sys, urllib.request
port, digest, tmp = sys.argv[1:]
host = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
base, index_type = "application/vnd.oci.image.", "application/vnd.oci.image.index.v1+json"
def ask(method, path, body=None, kind=None):
    headers = {"Accept": base + "manifest.v1+json"}
    if kind:
        headers["Content-Type"] = kind
    return urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:%s%s" % (port, path), data=body, method=method, headers=headers))
def blob(data):
    where = ask("POST", "/v2/team/image/blobs/uploads/", b"").headers["Location"]
    name = "sha256:" + hashlib.sha256(data).hexdigest()
    where = "/" + where.split("://", 1)[1].split("/", 1)[1] if "://" in where else where
    ask("PUT", where + ("&" if "?" in where else "?") + "digest=" + name, data, "application/octet-stream")
    return {"digest": name, "size": len(data)}
def put(document, kind, tag=None):
    data = json.dumps(document).encode()
    name = "sha256:" + hashlib.sha256(data).hexdigest()
    ask("PUT", "/v2/team/image/manifests/" + (tag or name), data, kind)
    return {"mediaType": kind, "digest": name, "size": len(data)}
original = json.load(ask("GET", "/v2/team/image/manifests/" + digest))
config = json.load(ask("GET", "/v2/team/image/blobs/" + original["config"]["digest"]))
def image(architecture, mark):
    c = dict(config, architecture=architecture, os="linux", author=mark)
    m = dict(original, config=dict(blob(json.dumps(c).encode()), mediaType=base + "config.v1+json"))
    return put(m, base + "manifest.v1+json")
def on(descriptor, architecture, variant=None, os="linux"):
    return dict(descriptor, platform={k: v for k, v in (("os", os), ("architecture", architecture), ("variant", variant)) if v})
def index(entries, tag=None):
    return put({"schemaVersion": 2, "mediaType": index_type, "manifests": entries}, index_type, tag)
names = {}
for key, architecture in (("v5", "arm"), ("v6", "arm"), ("v8", "arm64"), ("host", host), ("v3", "amd64"), ("s390x", "s390x")):
    names[key] = image(architecture, key)
index([on(names["s390x"], "s390x"), on(names["v5"], "arm", "v5"), on(names["v6"], "arm", "v6"), on(names["v8"], "arm64", "v8"),
       on(names["v3"], "amd64", "v3"), on(names["host"], host), on(names["host"], "unknown", os="unknown")], "variants")
inner = index([on(names["s390x"], "s390x"), on(names["v6"], "arm", "v6")])
other = index([names["v8"], on(names["host"], host)])
index([names["s390x"], inner, other], "nested")
deep = other
for i in range(5):
    deep = index([deep])
index([deep], "deep")
put({"schemaVersion": 2, "mediaType": index_type, "manifests": []}, index_type, "none")
for key in names:
    print(names[key]["digest"], file=open(tmp + "/at-" + key, "w"))
PY
at() { cat "$tmp/at-$1"; }
r=127.0.0.1:$plain/team/image
chosen() { # NAME TAG KEY [PLATFORM]
    want="$r:$2@$(at "$3")" works "$1" msb pull -q --insecure ${4:+--platform="$4"} "$r:$2"
    want=
}
chosen "this host's image, and not that for a newer processor" variants host
chosen "the variant that is asked for" variants v5 linux/arm/v5
chosen "the best one for the usual machine" variants v6 linux/arm
chosen "an older variant suits a newer machine" variants v6 linux/arm/v7
chosen "another name of an architecture" variants v8 linux/aarch64
chosen "a variant that is the usual one" variants v8 linux/arm64/v8
chosen "one for newer processors, when it is asked for" variants v3 linux/amd64/v3
fails "what is not there, and what is" "platform 'linux/riscv64'.*it does for: linux/s390x, linux/arm/v5" msb pull -q --insecure --platform=linux/riscv64 "$r:variants"
chosen "through a nested index that does not say its platform" nested host
chosen "in the first nested index" nested v6 linux/arm/v6
chosen "an image whose platform only its configuration says" nested v8 linux/arm64
chosen "and the first of those" nested s390x linux/s390x
fails "indexes that are nested too deep" "nested more than" msb pull -q --insecure "$r:deep"
fails "a platform that is none" "is not OS/ARCHITECTURE" msb pull -q --insecure --platform=linux "$r:variants"
fails "an image for another platform" "it does for: linux/" msb pull -q --insecure --platform=linux/riscv64 "$r:1"
echo "1..$count"
[ "$failed" = 0 ]
