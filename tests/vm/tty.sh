#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Interactive use, on a pseudo-terminal.
. "$(dirname "$0")/lib.bash"
runs "create" msb create -q -n "tty$id" busybox
python3 "$(dirname "$0")/terminal.py" "tty$id" >"$tmp/tap"
while read -r line; do
    case $line in
    ok\ *) pass "${line#ok * - }" ;;
    not\ ok\ *) fail "${line#not ok * - }" ;;
    1..*) ;;
    *) echo "$line" ;;
    esac
done <"$tmp/tap"
grep -q '^1\.\.' "$tmp/tap"
is $? 0 "the terminal driver ran to its end"
msb rm -q -f "tty$id"
done_testing
