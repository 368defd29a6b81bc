#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The agent as it goes into initrds: static, small, and no program for anybody.
agent=$abs_top_builddir/agent/msb-agent
count=0
failed=0
ok() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then echo "ok $count - $2"; else failed=1; echo "not ok $count - $2"; fi
}
if ! command -v readelf > /dev/null; then
    echo "1..0 # SKIP readelf is not installed"
    exit 77
fi
! readelf -lW "$agent" | grep -qE 'INTERP|DYNAMIC'; ok $? "it needs no loader and no library"
! readelf -lW "$agent" | grep -qE 'GNU_STACK.*E 0x|LOAD.*RWE'; ok $? "nothing of it is writable and executable"
size=$(stat -c %s "$agent")
if readelf -p .comment -p .rodata "$agent" 2> /dev/null | grep -q 'glibc'; then
    [ "$size" -lt $((1200 * 1024)) ]; ok $? "with glibc it has less than 1200 KiB ($size bytes)"
else
    [ "$size" -lt $((250 * 1024)) ]; ok $? "it has less than 250 KiB ($size bytes)"
fi
"$agent" --version | grep -qE '^msb-agent [0-9]'; ok $? "it tells its version"
"$agent" > /dev/null 2>&1; [ $? = 1 ]; ok $? "outside of a sandbox it only says what it is"
echo "1..$count"
exit $failed
