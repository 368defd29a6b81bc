#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# registry login, logout and ls: in a file, and in a real Secret Service: GNOME Keyring on a bus of this test's own.
set -u
. "${abs_top_srcdir:?}/tests/registry/lib.bash"
export MSB_BUILDDIR=${abs_top_builddir:?} LC_ALL=C.UTF-8
unset DISPLAY WAYLAND_DISPLAY
msb() { "$MSB_BUILDDIR/src/msb/msb" "$@"; }
login() { # PASSWORD OPTION...
    printf '%s\n' "$1" | msb registry login --insecure --username=user --password-stdin "${@:2}"
}
htpasswd=$(python3 -W ignore -c 'import crypt; print("user:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH)))' 2>/dev/null)
[[ $htpasswd == *'$2'* ]] || htpasswd=$(htpasswd -Bbn user secret 2>/dev/null)
[[ $htpasswd == *'$2'* ]] || { echo "1..0 # SKIP htpasswd is not installed"; exit 0; }
printf '%s\n' "$htpasswd" >"$tmp/htpasswd"

umoci init --layout "$tmp/oci" && umoci new --image "$tmp/oci:latest" && mkdir "$tmp/l" && echo 1 >"$tmp/l/1" && tar -C "$tmp/l" -cf "$tmp/l.tar" 1 &&
    umoci raw add-layer --image "$tmp/oci:latest" "$tmp/l.tar" >/dev/null 2>&1
start_registry plain
skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$tmp/oci:latest" "docker://127.0.0.1:$port/t/i:1" || { echo "Bail out! skopeo cannot push"; exit 99; }
open=127.0.0.1:$port
start_registry closed "auth: {htpasswd: {realm: test, path: $tmp/htpasswd}}"
h=127.0.0.1:$port
pull() { msb pull -q --insecure "$1/t/i:1" && msb image rm -q "$1/t/i:1"; }
listed() { msb registry ls --format=json | python3 -c 'import json, sys; print(*(" ".join((r["registry"], r["username"], r["store"])) for r in json.load(sys.stdin)))'; }

# ---- no Secret Service ----
fails "without an account" "wants credentials.*msb registry login $h" pull "$h"
explicit() { printf '%s\n' "$2" | msb pull -q --insecure --username="$1" --password-stdin "$h/t/i:1" && msb image rm -q "$h/t/i:1"; }
works "with one that is given" explicit user secret
fails "with a wrong one" "does not suffice|do not suffice" explicit user wrong
fails "a password without a name" "--username" msb pull --password-stdin "$h/t/i:1"
[ ! -e "$MSB_HOME/registries.json" ] && pass "nothing of it is kept" || fail "nothing of it is kept"
works "login" login secret "$h"
[[ $out == *"kept in '$MSB_HOME/registries.json'"* ]] && pass "says where the password is" || fail "says where the password is"
out=$(stat -c %a "$MSB_HOME/registries.json")
[ "$out" = 600 ] && pass "in a file for us alone" || fail "in a file for us alone"
want="$h user file" works "as does ls" listed
works "it is used" pull "$h"
fails "unless another account is given" "do not suffice" explicit user wrong
fails "a wrong password" "does not accept" login wrong "$h"
want="$h user file" works "changes nothing" listed
fails "a Secret Service that is not there" "Secret Service cannot keep" login secret --store=secret-service "$h"
fails "a place that there is not" "wants one of auto, file, secret-service" login secret --store=elsewhere "$h"
works "what is in the file is still used" pull "$h"
works "logout" msb registry logout "$h"
fails "forgets it" "wants credentials" pull "$h"
fails "once" "no credentials are kept for registry '$h'" msb registry logout "$h"
out=$(cat "$MSB_HOME/registries.json")
[[ $out != *secret* ]] && pass "nothing of it stays" || fail "nothing of it stays"

fails "an address is no registry" "'http://$h' is not a registry" login secret "http://$h"
fails "nor is a repository" "'$h/t/i' is not a registry" login secret "$h/t/i"
fails "nor a name that no image can have" "'somewhere' is not a registry" login secret somewhere
fails "TLS where there is none" "does not speak TLS .--insecure" msb pull -q "$open/t/i:1"

# ---- GNOME Keyring ----
missing=
for p in dbus-daemon dbus-send gnome-keyring-daemon secret-tool; do command -v $p >/dev/null || missing=$p; done
# The library's name, as libmsb asks for it: without it there is no Secret Service.
[ -n "$missing" ] || grep -q 'define HAVE_LIBSECRET 1' "$MSB_BUILDDIR/config.h" || missing=libsecret
if [ -n "$missing" ]; then
    count=$((count + 1))
    echo "ok $count - in the Secret Service # SKIP $missing is not installed"
    echo "1..$count"
    [ "$failed" = 0 ]
    exit
fi
start_bus() { # sets the address; the bus goes with the test
    local line
    exec {fd}< <(exec dbus-daemon --session --nofork --nopidfile --print-address=1 2>/dev/null)
    pids+=($!)
    read -r -t 20 -u "$fd" line && export DBUS_SESSION_BUS_ADDRESS=$line
}
has_owner() {
    dbus-send --session --dest=org.freedesktop.DBus --print-reply / org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets 2>/dev/null | grep -q 'boolean true'
}
wait_for_keyring() {
    local end=$((SECONDS + 30))
    until has_owner; do
        [ $SECONDS -lt $end ] || { echo "Bail out! gnome-keyring-daemon does not start: $(cat "$tmp/keyring.log")"; exit 99; }
        read -r -t 0.1 <> <(:) || :
    done
}
none=$DBUS_SESSION_BUS_ADDRESS
start_bus || { echo "Bail out! dbus-daemon does not start"; exit 99; }
bus=$DBUS_SESSION_BUS_ADDRESS
# It makes the keyring that it unlocks.
gnome-keyring-daemon --unlock --foreground --components=secrets < <(printf keyring) >"$tmp/keyring.log" 2>&1 &
pids+=($!)
wait_for_keyring
stored() { secret-tool lookup registry "$h" home "$MSB_HOME"; }

works "login with a Secret Service" login secret "$h"
[[ $out == *"kept in the Secret Service"* ]] && pass "says so" || fail "says so"
want=secret works "which has the password" stored
out=$(cat "$MSB_HOME/registries.json")
[[ $out != *'"secret"'* && $out == *'"secret-service"'* ]] && pass "the file has not" || fail "the file has not"
want="$h user secret-service" works "ls says where" listed
want=
out=$(msb registry ls)
[[ $out == *REGISTRY*USER*PASSWORD*"$h"*user*secret-service* ]] && pass "in the table too" || fail "in the table too"
works "it is used" pull "$h"
fails "another home is another account" "wants credentials" env MSB_HOME="$tmp/other" "$MSB_BUILDDIR/src/msb/msb" pull -q --insecure "$h/t/i:1"
fails "a wrong password" "does not accept" login wrong "$h"
want=secret works "does not replace the right one" stored
want=
export DBUS_SESSION_BUS_ADDRESS=$none
fails "without the service" "Secret Service cannot give the password.*msb registry login $h" pull "$h"
works "it is not asked for what everybody may have" pull "$open"
want="$h user secret-service" works "nor for a list" listed
want=
fails "nor can it forget" "Secret Service cannot forget" msb registry logout "$h"
export DBUS_SESSION_BUS_ADDRESS=$bus
works "into the file" login secret --store=file "$h"
want="$h user file" works "is where it is then" listed
want=
fails "and not in the service" "" stored
works "and back" login secret "$h"
want="$h user secret-service" works "as ls says" listed
want=
out=$(cat "$MSB_HOME/registries.json")
[[ $out != *'"secret"'* ]] && pass "and not in the file" || fail "and not in the file"
secret-tool clear registry "$h"
fails "what somebody took out of the keyring" "has no password for registry '$h' any more" pull "$h"
works "can be logged in again" login secret "$h"
works "logout" msb registry logout "$h"
fails "takes it out of the keyring" "" stored
want='' works "and out of the list" listed

# ---- a keyring that nobody unlocks ----
rm -rf "$XDG_DATA_HOME" && mkdir "$XDG_DATA_HOME"
start_bus || { echo "Bail out! dbus-daemon does not start"; exit 99; }
gnome-keyring-daemon --foreground --components=secrets </dev/null >"$tmp/keyring.log" 2>&1 &
pids+=($!)
wait_for_keyring
fails "a locked keyring" "Secret Service cannot keep.*--store=file" login secret "$h"
[ -z "$(listed)" ] && pass "keeps nothing" || fail "keeps nothing"
works "the file is another way" login secret --store=file "$h"
works "that works" pull "$h"
echo "1..$count"
[ "$failed" = 0 ]
