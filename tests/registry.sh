#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The registry client against Debian's docker-registry: plain, TLS, htpasswd and token
# authentication, and through a proxy that fails in every way it knows.
set -u
. "${abs_top_srcdir:?}/tests/registry/lib.bash"
get=${abs_top_builddir:?}/tests/registry/registry-get
python3 -W ignore -c 'import crypt' 2>/dev/null || command -v htpasswd >/dev/null || {
    echo "1..0 # SKIP htpasswd is not installed"
    exit 0
}

# An image with a layer large enough to be cut.
umoci init --layout "$tmp/oci" && umoci new --image "$tmp/oci:latest" && umoci unpack --rootless --image "$tmp/oci:latest" "$tmp/bundle" >/dev/null 2>&1
head -c 700000 /dev/urandom >"$tmp/bundle/rootfs/data"
umoci repack --image "$tmp/oci:latest" "$tmp/bundle" >/dev/null 2>&1

start_registry plain
plain=$port
skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$tmp/oci:latest" "docker://127.0.0.1:$plain/team/image:1.0" || { echo "Bail out! skopeo cannot push"; exit 99; }
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://127.0.0.1:$plain/team/image:1.0")
want=$("$get" --http "127.0.0.1:$plain" team/image 1.0 2>&1)
if [[ $want == "manifest $digest application/vnd.oci.image.manifest.v1+json"* ]] && [ "$(echo "$want" | wc -l)" -ge 3 ]; then pass "manifest, config and layer by tag"; first=$want; else out=$want; fail "manifest, config and layer by tag"; fi
good=yes
while read -r d _; do grep -rqs "${d#sha256:}" "$tmp/oci/index.json" || [ -f "$tmp/oci/blobs/sha256/${d#sha256:}" ] || good=no; done < <(echo "$want" | sed 1d)
out=$want
[ $good = yes ] && pass "the blobs have the digests they should" || fail "the blobs have the digests they should"
works "by digest" "$get" --http "127.0.0.1:$plain" team/image "$digest"
fails "an unknown tag is named" "has no 'team/image:2.0'" "$get" --http "127.0.0.1:$plain" team/image 2.0
fails "an unknown repository" "has no 'no/such:1'" "$get" --http "127.0.0.1:$plain" no/such 1
fails "nobody listens" "127.0.0.1:1/.*([Ff]ailed to connect|[Cc]onnection refused)" "$get" --http --retries 1 127.0.0.1:1 x y

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout "$tmp/key.pem" -out "$tmp/cert.pem" -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
python3 -W ignore -c 'import crypt; print("user:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH)))' >"$tmp/htpasswd" 2>/dev/null ||
    htpasswd -Bbn user secret >"$tmp/htpasswd"
grep -q '\$2' "$tmp/htpasswd" || htpasswd -Bbn user secret >"$tmp/htpasswd"
start_registry tls "  tls: {certificate: $tmp/cert.pem, key: $tmp/key.pem}" "auth: {htpasswd: {realm: test, path: $tmp/htpasswd}}"
tls=$port
fails "a certificate that does not verify" "certificate does not verify" "$get" "localhost:$tls" team/image 1.0
fails "anonymous where credentials are wanted" "msb registry login" "$get" --ca "$tmp/cert.pem" "localhost:$tls" team/image 1.0
fails "wrong credentials" "refuses access|does not accept" "$get" --ca "$tmp/cert.pem" --user user --password wrong "localhost:$tls" team/image 1.0
works "TLS and explicit credentials" "$get" --ca "$tmp/cert.pem" --user user --password secret "localhost:$tls" team/image 1.0
fails "login with wrong credentials" "does not accept|refuses" "$get" --login --ca "$tmp/cert.pem" --user user --password wrong "localhost:$tls" x y
saved=$want
want=
works "login stores them" "$get" --login --ca "$tmp/cert.pem" --user user --password secret "localhost:$tls" x y
want=$saved
out=$(stat -c %a "$MSB_HOME/registries.json")
[ "$out" = 600 ] && pass "in a file that only we can read" || fail "in a file that only we can read"
works "and they are used" "$get" --ca "$tmp/cert.pem" "localhost:$tls" team/image 1.0
rm "$MSB_HOME/registries.json"
printf '{"auths": {"localhost:%s": {"auth": "%s"}}}' "$tls" "$(printf user:secret | base64)" >"$DOCKER_CONFIG/config.json"
works "docker's configuration is used" "$get" --ca "$tmp/cert.pem" "localhost:$tls" team/image 1.0
mkdir "$tmp/bin"
printf '#!/bin/sh\nread -r server\n[ "$server" = "localhost:%s" ] || exit 1\necho "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"user\\",\\"Secret\\":\\"secret\\"}"\n' "$tls" >"$tmp/bin/docker-credential-test"
chmod +x "$tmp/bin/docker-credential-test"
printf '{"credHelpers": {"localhost:%s": "test"}}' "$tls" >"$DOCKER_CONFIG/config.json"
PATH=$tmp/bin:$PATH works "a credential helper is used" "$get" --ca "$tmp/cert.pem" "localhost:$tls" team/image 1.0
printf '{"credsStore": "test"}' >"$DOCKER_CONFIG/config.json"
PATH=$tmp/bin:$PATH works "a credential store is used" "$get" --ca "$tmp/cert.pem" "localhost:$tls" team/image 1.0
printf '{"auths": [' >"$DOCKER_CONFIG/config.json"
fails "a broken configuration is named" "docker/config.json" "$get" --ca "$tmp/cert.pem" "localhost:$tls" team/image 1.0
rm "$DOCKER_CONFIG/config.json"

faulty
h=127.0.0.1:$proxy
works "the proxy lets through" "$get" --http "$h" team/image 1.0
works "blobs cut short resume by range" "$get" --http "$h" fault/cut/team/image 1.0
works "and without ranges" "$get" --http "$h" fault/cut0/team/image 1.0
works "429 is tried again" "$get" --http "$h" fault/slow429/team/image 1.0
works "503 is tried again" "$get" --http "$h" fault/fail5/team/image 1.0
fails "500 for ever ends, without control characters" "answers 500.*it [?]+31mbroke" "$get" --http --retries 2 "$h" fault/always500/team/image 1.0
[[ $out == *$'\033'* ]] && fail "no escape sequence of the server reaches the terminal" || pass "no escape sequence of the server reaches the terminal"
fails "a blob longer than announced" "longer than" "$get" --http "$h" fault/long/team/image 1.0
fails "a manifest that does not match its digest" "does not match its digest" "$get" --http "$h" fault/garbage/team/image "$digest"
works "a redirect to another host" "$get" --http "$h" fault/elsewhere/team/image 1.0

# ---- into the store ----
want=
tree() { (cd "$MSB_HOME/images" 2>/dev/null && find . -type f ! -name '*lock' | LC_ALL=C sort); }
before=$(tree)
fails "a layer with one wrong byte is refused with both digests" "expected.* sha256:.*got.* sha256:" "$get" --http --pull "$h" fault/lie/team/image 1.0
fails "so is one that cannot be decompressed" "layer .*expected.* sha256:.*got.* sha256:" "$get" --http --pull "$h" fault/liehalf/team/image 1.0
out=$(tree)
[ "$out" = "$before" ] && pass "and the store is as it was" || fail "and the store is as it was"
fails "a manifest that is garbage" "fault/garbage/team/image:1.0" "$get" --http --pull "$h" fault/garbage/team/image 1.0
out=$("$get" --http --pull "$h" fault/cut/team/image 1.0 2>&1)
[[ $out == "$h/fault/cut/team/image:1.0 $digest"*"progress told" ]] && pass "a pull through broken connections" || fail "a pull through broken connections"
sum=$(tree | grep -c layers/)
works "the same image from another repository" "$get" --http --pull "127.0.0.1:$plain" team/image 1.0
out=$(tree | grep -c layers/)
[ "$out" = "$sum" ] && pass "shares its layers" || fail "shares its layers"
works "by digest" "$get" --http --pull "127.0.0.1:$plain" team/image "$digest"
out=$("$get" --http --pull 127.0.0.1:1 team/image 1.0 2>&1)
[[ $out == *127.0.0.1:1/* ]] && pass "another registry is another image" || fail "another registry is another image"

# Several layers, and a multi-platform index.
make_layer() { umoci unpack --rootless --image "$tmp/oci:latest" "$tmp/b$1" >/dev/null 2>&1 && mkdir -p "$tmp/b$1/rootfs/dir" && echo "$1" >"$tmp/b$1/rootfs/dir/file$1" && umoci repack --image "$tmp/oci:latest" "$tmp/b$1" >/dev/null 2>&1; }
for i in 1 2 3 4 5 6; do make_layer $i; done
skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$tmp/oci:latest" "docker://127.0.0.1:$plain/team/many:1"
out=$("$get" --http --pull "127.0.0.1:$plain" team/many 1 2>&1)
[ "$(echo "$out" | grep -c ^sha256:)" = 7 ] && pass "seven layers in parallel" || fail "seven layers in parallel"
many=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://127.0.0.1:$plain/team/many:1")
index=$(python3 - "$plain" "$many" "$digest" <<'PY'
import hashlib, json, sys, urllib.request
port, many, other = sys.argv[1:]
def size(d):
    r = urllib.request.Request("http://127.0.0.1:%s/v2/team/many/manifests/%s" % (port, d), headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    return len(urllib.request.urlopen(r).read())
body = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
    {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": many, "size": size(many), "platform": {"os": "linux", "architecture": a}}
    for a in ("s390x", "amd64", "arm64")]}).encode()
r = urllib.request.Request("http://127.0.0.1:%s/v2/team/many/manifests/multi" % port, data=body, method="PUT", headers={"Content-Type": "application/vnd.oci.image.index.v1+json"})
urllib.request.urlopen(r)
print("sha256:" + hashlib.sha256(body).hexdigest())
PY
)
works "an index leads to this platform's image" "$get" --http --pull "127.0.0.1:$plain" team/many multi
works "an index by its digest" "$get" --http --pull "127.0.0.1:$plain" team/many "$index"
kill "${pids[0]}"
wait "${pids[0]}" 2>/dev/null
works "what is in the store needs no registry" "$get" --http --pull "127.0.0.1:$plain" team/many "$index"
fails "unless it is asked for" "127.0.0.1:$plain" "$get" --http --pull --always --retries 1 "127.0.0.1:$plain" team/many 1

start_registry again
plain=$port
faulty --token
h=127.0.0.1:$proxy
want=$first
fails "a token server that wants credentials" "refuses access" "$get" --http "$h" team/image 1.0
works "tokens are fetched, and again when they expire" "$get" --http --user user --password secret "$h" team/image 1.0
printf '{"auths": {"%s": {"auth": "", "identitytoken": "renew"}}}' "$h" >"$DOCKER_CONFIG/config.json"
works "tokens for an identity token of docker's" "$get" --http "$h" team/image 1.0
printf '{"auths": {"%s": {"auth": "", "identitytoken": "stale"}}}' "$h" >"$DOCKER_CONFIG/config.json"
fails "one that does not hold" "refuses access.*docker/config.json" "$get" --http "$h" team/image 1.0
rm "$DOCKER_CONFIG/config.json"
works "with a redirect" "$get" --http --user user --password secret "$h" fault/elsewhere/team/image 1.0
out=$(python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:%s/leaks" % sys.argv[1]).read().decode())' "$proxy")
[[ $out == '[null'* && $out != *Bearer* ]] && pass "credentials do not follow a redirect to another host" || fail "credentials do not follow a redirect to another host"
echo "1..$count"
[ "$failed" = 0 ]
