#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots are dependable: many in a row beside busy loops on every core, and
# several at once.  MSB_TEST_BOOTS sets how many (default 8; a hundred for a
# long run).
. "$(dirname "$0")/lib.bash"
boots=${MSB_TEST_BOOTS:-8}
for _ in $(seq "$(nproc)"); do
    nice -n 5 sh -c 'while :; do :; done' &
    background+=($!)
done
good=0
for i in $(seq "$boots"); do
    run msb run -q busybox -- echo "boot $i"
    if [ "$out" = "boot $i" ]; then good=$((good + 1)); else diag "boot $i: $out"; fi
done
is "$good" "$boots" "$boots boots in a row beside busy loops on every core"
for p in "${background[@]}"; do kill "$p"; done
background=()
together=${MSB_TEST_TOGETHER:-4}
for i in $(seq "$together"); do
    msb run -q busybox -- echo "box $i" >"$tmp/box$i" 2>&1 &
    pids[i]=$!
done
good=0
for i in $(seq "$together"); do
    wait "${pids[i]}" && [ "$(cat "$tmp/box$i")" = "box $i" ] && good=$((good + 1)) || diag "$(cat "$tmp/box$i")"
done
is "$good" "$together" "$together sandboxes at once"
done_testing
