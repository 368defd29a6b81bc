#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# msb-vhost-blk as a program: the concatenation judged by other people's tools,
# locks, confinement, options.
# shellcheck source=tests/lib/blk.bash
. "$(dirname "$0")/lib/blk.bash"
PATH=$PATH:/usr/sbin:/sbin

# refused PATTERN ARGS...: ends with an error that matches
refused() {
    local pattern=$1
    shift
    timeout 120 "$blk" --socket-path=s "$@" >out 2>log
    local status=$?
    [ $status -ne 0 ] && [ $status -lt 100 ] && grep -q -- "$pattern" log
}

# ---- concatenation ----------------------------------------------------------------
for i in 0 1 2 3 4 5 6; do
    head -c $((i * 700001 + 1)) /dev/urandom >layer$i
done
files=()
for i in 0 1 2 3 4 5 6; do files+=("--file=$work/layer$i,name=layer-$i"); done
serve --concat "${files[@]}" --serial=layers
check $? 'a concatenation is served'
"$dump" s disk
check $? 'and read'
stop
check $? 'ends with 0 on SIGTERM'

if command -v sfdisk >/dev/null; then
    sfdisk --dump disk >table 2>log
    check $? 'sfdisk reads the table'
    [ "$(grep -c 'name="layer-' table)" = 7 ]
    check $? 'seven partitions with their names'
    sfdisk --verify disk >log 2>&1
    check $? 'sfdisk finds no fault'
    bad=0
    for i in 0 1 2 3 4 5 6; do
        read -r start size < <(sed -n "s/.*start= *\([0-9]*\), size= *\([0-9]*\),.*name=\"layer-$i\".*/\1 \2/p" table)
        bytes=$(stat -c %s layer$i)
        [ $((size * 512)) -ge "$bytes" ] && [ $((size * 512 - bytes)) -lt 4096 ] || bad=1
        dd if=disk bs=512 skip="$start" count="$size" status=none | head -c "$bytes" | cmp -s - layer$i || bad=1
        [ "$(dd if=disk bs=512 skip="$start" count="$size" status=none | tail -c +$((bytes + 1)) | tr -d '\0' | wc -c)" = 0 ] || bad=1
    done
    check $bad 'every partition is its file and zeros'
else
    skip 'partition table' 'no sfdisk'
fi
if command -v sgdisk >/dev/null; then
    sgdisk -v disk >log 2>&1 && grep -q 'No problems found' log
    check $? 'sgdisk finds no problem'
else
    skip 'sgdisk' 'not installed'
fi
if command -v partx >/dev/null; then
    [ "$(partx --show --noheadings --output NR disk 2>log | wc -l)" = 7 ]
    check $? 'partx sees seven partitions'
else
    skip 'partx' 'not installed'
fi
serve --concat "${files[@]}" --engine=threads
"$dump" s again
stop
cmp disk again >log
check $? 'a second time it is the same, byte for byte'

# ---- locks ------------------------------------------------------------------------
truncate -s 1M image
serve --blk-file=image
holder=$pid
refused "\"image\" is in use by process $holder " --blk-file=image
check $? 'a second writer is refused and told who has the image'
refused 'is in use by' --blk-file=image --read-only
check $? 'so is a reader'
if command -v qemu-io >/dev/null; then
    ! qemu-io -f raw -c 'write 0 512' image >log 2>&1 && grep -q 'lock' log
    check $? 'QEMU sees the lock'
    qemu-io -r -U -f raw -c 'read 0 512' image >log 2>&1
    check $? 'and may read when it insists'
else
    skip "QEMU's locks" 'no qemu-io'
fi
[ "$(stat -c %a s)" = 600 ]
check $? 'the socket is the owner'"'"'s'
stop
refused 'cannot open "missing"' --blk-file=missing
check $? 'a missing image'
mkfifo fifo
refused 'neither a regular file nor a block device' --blk-file=fifo
check $? 'a FIFO does not hang the start'

# ---- options, confinement -------------------------------------------------------------
for bad in '--num-queues=0' '--num-queues=17' '--engine=magic' '--serial=123456789012345678901' '--discard=maybe' '--detect-zeroes=yes' \
           '--poll-us=1001' '--file=image' '--concat'; do
    timeout 120 "$blk" --socket-path=s --blk-file=image "$bad" >out 2>log
    [ $? = 2 ] && [ -s log ]
    check $? "$bad is a usage error"
done
timeout 120 "$blk" --socket-path=s >out 2>log
[ $? = 2 ]
check $? 'nothing to serve is a usage error'
"$blk" --print-capabilities >out 2>log && grep -q '"type": "block"' out
check $? '--print-capabilities'
for option in $("$blk" --help | grep -o '^  --[a-z-]*'); do
    grep -q -- "$option" "$srcdir/data/man/msb-vhost-blk.pod" || missing="${missing:-} $option"
done
[ -z "${missing:-}" ]
check $? "the manual page has every option${missing:+, not$missing}"
"$blk" --print-confinement --blk-file=image >out 2>log
check $? '--print-confinement'
sanitized=$(grep -c -e __asan_init -e __tsan_init "$blk" || :)
for stage in fds no_new_privs capabilities seccomp; do
    if [ "$stage" = seccomp ] && [ "$sanitized" != 0 ]; then
        skip "$stage is applied" 'built with sanitizers'
        continue
    fi
    grep -q "\"$stage\": {\"state\": \"applied\"" out
    check $? "$stage is applied"
done
serve --blk-file=image
[ "$sanitized" != 0 ] || [ "$(awk '/^Seccomp:/ { print $2 }' /proc/"$pid"/status)" = 2 ] &&
    [ "$(awk '/^NoNewPrivs:/ { print $2 }' /proc/"$pid"/status)" = 1 ] &&
    [ "$(awk '/^CapEff:/ { print $2 }' /proc/"$pid"/status)" = 0000000000000000 ]
check $? 'the serving process is confined'
stop
finish
