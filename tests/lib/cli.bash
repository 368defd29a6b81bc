# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# For tests of the command line that need no machine: msb with a state directory of its own, and TAP.
#
#   msb ARG...            run it; $status, $out and $err have the result
#   is WHAT GOT WANT      like WHAT TEXT REGEX     unlike WHAT TEXT REGEX
#   done_testing

: "${abs_top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${abs_top_builddir:=$abs_top_srcdir/build}"
MSB_PROGRAM=${MSB_PROGRAM:-$abs_top_builddir/src/msb/msb}
work=$(mktemp -d "${TMPDIR:-/tmp}/msb-cli-XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
export MSB_HOME=$work/home MSB_BUILDDIR=$abs_top_builddir MSB_SRCDIR=$abs_top_srcdir
export LC_ALL=C.UTF-8 TERM=xterm
unset LANGUAGE NO_COLOR MSB_ACCEL MSB_LIBVIRT_URI COLUMNS G_MESSAGES_DEBUG
tests=0
failures=0

msb() {
    "$MSB_PROGRAM" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    out=$(cat "$work/out")
    err=$(cat "$work/err")
}

verdict() {
    tests=$((tests + 1))
    if [ "$1" = 0 ]; then
        echo "ok $tests - $2"
    else
        failures=$((failures + 1))
        echo "not ok $tests - $2"
        shift 2
        printf '%s\n' "$@" | sed 's/^/# /'
    fi
}

is() {
    [ "$2" = "$3" ]
    verdict $? "$1" "got: $2" "want: $3"
}

like() {
    [[ $2 =~ $3 ]]
    verdict $? "$1" "got: $2" "want something like: $3"
}

unlike() {
    ! [[ $2 =~ $3 ]]
    verdict $? "$1" "got: $2" "want nothing like: $3"
}

done_testing() {
    echo "1..$tests"
    [ "$failures" = 0 ]
}

# All commands, subcommands as "image ls".
list_commands() {
    "$MSB_PROGRAM" --tree | sed -n '2,$p' | awk '
        /^    [a-z]/ { parent = $1; print $1 }
        /^        [a-z]/ { print parent " " $1 }'
}
