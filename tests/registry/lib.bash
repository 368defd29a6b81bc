# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# For tests with a registry: docker-registry and a faulty proxy, started and ended here, and TAP.
#
#   $tmp                      a directory that goes at the end; msb, docker and podman have their files there
#   works NAME COMMAND...     it succeeds (and says $want, if that is set)
#   fails NAME REGEX COMMAND... it fails and says so; $out has what it said
here=${abs_top_srcdir:?}/tests/registry
for p in docker-registry skopeo umoci openssl python3; do
    command -v $p >/dev/null && continue
    echo "1..0 # SKIP $p is not installed"
    exit 0
done
tmp=$(mktemp -d)
pids=()
trap 'for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$tmp"' EXIT
export PYTHONDONTWRITEBYTECODE=1 # beside the sources
export HOME=$tmp/home MSB_HOME=$tmp/msb DOCKER_CONFIG=$tmp/docker XDG_CONFIG_HOME=$tmp/xdg XDG_DATA_HOME=$tmp/data XDG_RUNTIME_DIR=$tmp/run
export DBUS_SESSION_BUS_ADDRESS=unix:path=$tmp/none # nobody's own keyring
unset REGISTRY_AUTH_FILE http_proxy https_proxy
mkdir -p "$HOME" "$DOCKER_CONFIG" "$XDG_RUNTIME_DIR" "$XDG_DATA_HOME"
chmod 700 "$XDG_RUNTIME_DIR"
count=0
failed=0
pass() { count=$((count + 1)); echo "ok $count - $1"; }
fail() { count=$((count + 1)); failed=$((failed + 1)); echo "not ok $count - $1"; printf '%s\n' "$out" | sed 's/^/# /'; }
works() { local n=$1; shift; if out=$("$@" 2>&1) && [ "$out" = "${want:-$out}" ]; then pass "$n"; else fail "$n"; fi; }
fails() { local n=$1 r=$2; shift 2; if out=$("$@" 2>&1); then fail "$n"; elif [[ $out =~ $r ]]; then pass "$n"; else fail "$n"; fi; }

# within SECONDS COMMAND...: until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        read -r -t 0.1 <> <(:) || :
    done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_registry NAME YAML...: sets $port, waits until it listens.  A port that was free may be taken by the time it is
# asked for: then another one.
start_registry() {
    local tries
    for tries in 1 2 3 4 5 6 7 8; do
        port=$(free_port)
        registry_listens "$@" && return
    done
    echo "Bail out! docker-registry does not start, $tries times: $(cat "$tmp/$1.log")"
    exit 99
}

registry_listens() {
    local name=$1 end=$((SECONDS + 120))
    {
        printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp:\n  addr: 127.0.0.1:%s\n' "$tmp/store" "$port"
        printf '%s\n' "${@:2}"
    } >"$tmp/$name.yml"
    docker-registry serve "$tmp/$name.yml" >"$tmp/$name.log" 2>&1 &
    pids+=($!)
    until (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        [ $SECONDS -lt $end ] && kill -0 "${pids[-1]}" 2>/dev/null || return 1
        read -r -t 0.1 <> <(:) || :
    done
}

# faulty [ARG]: starts the proxy, sets $proxy.
faulty() {
    exec {fd}< <(exec python3 "$here/faulty.py" "$plain" "$@")
    pids+=($!)
    read -r -t 120 -u "$fd" proxy
}
