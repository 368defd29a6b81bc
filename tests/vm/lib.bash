# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Functions of the tests that boot guests; sourced first by each.
#
# ./check prepares what they need and says where in the environment:
#   MSB_TEST_HOME     a state directory with the kernel bundle and the images
#   MSB_TEST_FILES    a directory with the files the images were made from
# Each test gets a state directory of its own that shares kernel and images with
# that one, and unless it says otherwise ends by checking that nothing is left.

set -u -o pipefail
test_count=0
test_failed=0

if [ -z "${MSB_TEST_HOME:-}" ] || ! command -v msb >/dev/null; then
    echo "1..0 # SKIP boots guests: ./check prepares kernel bundle and images and runs it"
    exit 0
fi

tmp=$(mktemp -d /var/tmp/msbt.XXXXXX)
export MSB_HOME=$tmp/h
mkdir -m 700 "$MSB_HOME"
ln -s "$MSB_TEST_HOME/kernel" "$MSB_HOME/kernel"
ln -s "$MSB_TEST_HOME/images" "$MSB_HOME/images"
id=$(basename "$tmp" | tr -dc A-Za-z0-9)
background=()

at_exit() {
    local p
    for p in ${background[@]+"${background[@]}"}; do kill "$p" 2>/dev/null; done
    # shellcheck disable=SC2033
    msb ls -q 2>/dev/null | xargs -r msb rm -f -q >/dev/null 2>&1
    chmod -R u+rwX "$tmp" 2>/dev/null
    rm -rf "$tmp"
}
trap at_exit EXIT
trap 'exit 143' TERM

diag() { printf '%s\n' "$*" | sed 's/^/# /'; }

pass() {
    test_count=$((test_count + 1))
    echo "ok $test_count - $1"
}

fail() {
    test_count=$((test_count + 1))
    test_failed=$((test_failed + 1))
    echo "not ok $test_count - $1"
}

skip() {
    test_count=$((test_count + 1))
    echo "ok $test_count - $1 # SKIP $2"
}

# is GOT WANT NAME
is() {
    if [ "$1" = "$2" ]; then
        pass "$3"
    else
        fail "$3"
        diag "got:  $1"
        diag "want: $2"
    fi
}

# like GOT REGEX NAME (extended regular expression)
like() {
    if [[ $1 =~ $2 ]]; then
        pass "$3"
    else
        fail "$3"
        diag "got: $1"
        diag "does not match: $2"
    fi
}

# run COMMAND...: sets $out (both streams) and $rc.
run() {
    out=$("$@" 2>&1)
    rc=$?
}

# runs NAME COMMAND...: must succeed; $out is left.
runs() {
    local name=$1
    shift
    run "$@"
    if [ "$rc" = 0 ]; then
        pass "$name"
    else
        fail "$name"
        diag "exit status $rc of: $*"
        diag "$out"
    fi
}

# fails_with STATUS REGEX NAME COMMAND...
fails_with() {
    local want=$1 regex=$2 name=$3
    shift 3
    run "$@"
    if [ "$rc" = "$want" ] && [[ $out =~ $regex ]]; then
        pass "$name"
    else
        fail "$name"
        diag "exit status $rc, want $want; output should match: $regex"
        diag "$out"
    fi
}

# within SECONDS COMMAND...: until it succeeds; for what gives no event.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -r -t 0.2 <> <(:) || :
    done
}

gone() { [ ! -d "/proc/$1" ]; }

# Processes that serve this test's sandboxes: pids and command lines.
processes() { pgrep -u "$(id -u)" -af -- "$MSB_HOME" | grep -v -e ' bash ' -e pgrep || :; }

# supervisor_pid NAME, backend_pid NAME WORD
supervisor_pid() { processes | awk -v n="$1" '/msb-supervisor/ && index($0, "--name " n) || /msb-supervisor/ && index($0, "--name=" n) {print $1; exit}'; }
backend_pid() { processes | awk -v n="/$1/" -v w="$2" '/msb-vhost/ && index($0, n) && index($0, w) {print $1; exit}'; }
qemu_pid() { pgrep -u "$(id -u)" -f -- "guest=msb-$1,|-name msb-$1" | head -n 1; }

libvirt_uri() { if [ "$(id -u)" = 0 ]; then echo qemu:///system; else echo qemu:///session; fi; }
vsh() { virsh -q -c "$(libvirt_uri)" "$@"; }

# KVM in an emulated processor now and then loses a guest in its first two seconds, by a triple fault no program of
# ours can be to blame for.  There such a guest, and nothing else that fails, is started again, and is told of.
if [ -n "${MSB_TEST_KVM_LOSES_GUESTS:-}" ]; then
    exec 3>&1
    # shellcheck disable=SC2032
    msb() {
        local err try rc=0 word name='' last=''
        for word; do
            [ "$word" != -- ] || break
            case $last in -n | --name) name=$word ;; esac
            last=$word
        done
        case $1 in run | create) ;; *) name= ;; esac
        err=$(mktemp "$tmp/err.XXXXXX")
        for try in 1 2 3; do
            rc=0
            command msb "$@" 2>"$err" || rc=$?
            if [ "$rc" = 0 ] || [ "$try" = 3 ] || ! grep -qF 'was booting (the guest powered off)' "$err"; then break; fi
            echo "# NOTE the emulated processor lost a guest; once more: msb $1" >&3
            [ -z "$name" ] || command msb rm -f -q "$name" >/dev/null 2>&1
        done
        cat "$err" >&2
        rm -f "$err"
        return "$rc"
    }
fi

# Run a TAP program as a part of this test.
include_tap() {
    local line
    "$@" >"$tmp/tap"
    while read -r line; do
        case $line in
        ok\ *) pass "${line#ok * - }" ;;
        not\ ok\ *) fail "${line#not ok * - }" ;;
        1..*) ;;
        *) echo "$line" ;;
        esac
    done <"$tmp/tap"
    grep -q '^1\.\.' "$tmp/tap"
    is $? 0 "$(basename "$2") ran to its end"
}

# Nothing may be left of the sandboxes of this test.
check_nothing_left() {
    local left
    if ! within 90 no_processes; then
        fail "no process is left"
        diag "$(processes)"
    else
        pass "no process is left"
    fi
    left=$(find "$MSB_HOME/run" -mindepth 1 -not -name '*.lock' -not -name .tsc.json 2>/dev/null | head)
    is "$left" "" "nothing is left in run/"
    left=$(vsh list --state-running --name 2>/dev/null | grep -F "$id" || :)
    is "$left" "" "no domain of this test is running"
}

no_processes() { [ -z "$(processes)" ]; }

done_testing() {
    check_nothing_left
    echo "1..$test_count"
    [ "$test_failed" = 0 ]
    exit
}
