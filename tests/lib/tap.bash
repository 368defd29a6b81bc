# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Shell tests of one program: where things are, and assertions, as TAP; sourced by what they share.  A failed
# assertion shows the end of $work/log, which the last command should have written.
# shellcheck disable=SC2034 # set for those who source this
set -u
builddir=${abs_top_builddir:-$PWD}
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
count=0
failed=0
skip_all() { # skip_all REASON
    echo "1..0 # SKIP $1"
    exit 0
}
requires() { # requires TOOL...: all of them, or the test is skipped
    local tool
    for tool; do
        command -v "$tool" >/dev/null || skip_all "$tool is not installed"
    done
}
finish() { # the plan, and the end
    echo "1..$count"
    exit $((failed != 0))
}
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
