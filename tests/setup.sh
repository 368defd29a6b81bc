#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The work directory of ./demo and ./check has a known name below /var/tmp: nobody else's is taken.
set -u
top=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/msb-setup-XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
n=0
failed=0

# try WORK: what ensure_work says of it, and whether it goes on.
try() {
    top=$top MSB_WORK=$1 bash -c 'exec 3>&1; . "$top/build-aux/setup.bash"; ensure_work && echo "goes on"' setup 2>&1
}
is() {
    n=$((n + 1))
    # shellcheck disable=SC2254
    case $2 in
    $3) echo "ok $n - $1" ;;
    *)
        echo "not ok $n - $1"
        echo "# $2"
        failed=1
        ;;
    esac
}

is 'one that is not there is made' "$(try "$tmp/new")" 'goes on'
is 'so that only its owner may write' "$(stat -c %a "$tmp/new")" 755
is 'and is taken again' "$(try "$tmp/new")" 'goes on'
mkdir -m 777 "$tmp/open"
chmod 777 "$tmp/open"
is 'one that others may write to is not' "$(try "$tmp/open")" '*set MSB_WORK to a directory of your own'
ln -s open "$tmp/link"
is 'by another name neither' "$(try "$tmp/link")" '*set MSB_WORK to a directory of your own'
if [ "$(id -u)" = 0 ]; then
    mkdir "$tmp/foreign"
    chown 65534 "$tmp/foreign"
    is 'nor one of another user' "$(try "$tmp/foreign")" '*set MSB_WORK to a directory of your own'
    ln -s new "$tmp/trap"
    chown -h 65534 "$tmp/trap"
    is 'nor what another user made a link to' "$(try "$tmp/trap")" '*set MSB_WORK to a directory of your own'
else
    n=$((n + 2))
    echo "ok $((n - 1)) - nor one of another user # SKIP needs root"
    echo "ok $n - nor what another user made a link to # SKIP needs root"
fi
echo "1..$n"
exit $failed
