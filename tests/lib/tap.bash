# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Assertions of shell tests, as TAP; sourced by what tests of one program share.  A failed one shows the end of
# $work/log, which the last command should have written.
# shellcheck disable=SC2034 # set for those who source this
count=0
failed=0
check() { # check STATUS DESCRIPTION
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failed=$((failed + 1))
        sed 's/^/# /' "$work/log" 2>/dev/null | tail -n 40
    fi
}
skip() { # skip DESCRIPTION REASON
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}
