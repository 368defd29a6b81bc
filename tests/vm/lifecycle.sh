#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every way a run can end, the rude ones too: the next command says what
# happened and nothing is left behind.
. "$(dirname "$0")/lib.bash"
n=life$id

start() { msb start -q "$n"; }
state() { msb ls --format json | python3 -c 'import json,sys; print(next((s["status"] for s in json.load(sys.stdin) if s["name"] == sys.argv[1]), "none"))' "$n"; }
has_state() { [ "$(state)" = "$1" ]; }
clean() {
    within 90 has_no_processes || diag "$(processes)"
    has_no_processes
    is $? 0 "$1: no process is left"
    is "$(vsh domstate "msb-$n" 2>&1 | head -n 1)" "shut off" "$1: the domain is off"
    is "$(find "$MSB_HOME/run" -name '*.sock' 2>/dev/null)" "" "$1: no socket is left"
}
has_no_processes() { [ -z "$(processes)" ]; }

runs "create boots it and leaves it idle" msb create -q -n "$n" busybox
is "$(state)" running "it runs"
fails_with 1 "$n" "the name is taken" msb create -q -n "$n" busybox
runs "write and sync" msb exec -q "$n" -- sh -c 'echo kept >/root/file; sync'

pid=$(supervisor_pid "$n")
kill -9 "$pid"
within 90 has_state crashed
is "$(state)" crashed "supervisor killed: ls says crashed"
clean "supervisor killed"
like "$(msb inspect "$n")" 'supervisor' "inspect says why"
runs "it starts again" start
is "$(msb exec -q "$n" -- cat /root/file)" kept "with what was synced"

pid=$(qemu_pid "$n")
kill -9 "$pid"
within 90 has_state crashed
is "$(state)" crashed "QEMU killed: crashed"
clean "QEMU killed"
runs "it starts again" start

pid=$(backend_pid "$n" layers)
kill -9 "$pid"
run msb exec -q "$n" -- sh -c 'echo 3 >/proc/sys/vm/drop_caches; ls -l /bin | wc -l'
is "$rc" 0 "a killed vhost-blk comes back, the guest reads on"
pid=$(backend_pid "$n" upper)
kill -9 "$pid"
run msb exec -q "$n" -- sh -c 'dd if=/dev/zero of=/root/big bs=1M count=8 2>/dev/null; sync; ls -l /root/big'
like "$out" 8388608 "and writes on"
runs "stop" msb stop -q "$n"
is "$(state)" stopped "a stop is not a crash"
clean "stopped"

mkdir "$tmp/dir"
runs "a sandbox with a directory" msb create -q -n "fs$n" -v "$tmp/dir:/dir" busybox
kill -9 "$(backend_pid "fs$n" m0)"
within 90 sh -c "msb ls | grep -q 'fs$n.*crashed'"
like "$(msb ls)" "fs$n.*crashed" "a killed vhost-fs ends the sandbox"
like "$(msb inspect "fs$n")" 'file back-end of ./dir. died' "and inspect says so"
msb rm -q -f "fs$n"

start
fails_with 1 'channel closed|lost|ended' "power-off from inside ends the command" msb exec -q "$n" -- sh -c 'poweroff -f & sleep 1000'
within 90 has_state stopped
like "$(state)" 'stopped|crashed' "power-off in the guest ends it"
clean "powered off"

start
vsh destroy "msb-$n" >/dev/null
within 90 sh -c "! msb ls | grep -q '$n.*running'"
like "$(state)" 'stopped|crashed' "virsh destroy ends it"
clean "virsh destroy"

start
# The agent listens to the power button a moment after it is ready.
within 90 msb exec -q "$n" -- test -d /sys/module/button
runs "virsh shutdown" vsh shutdown "msb-$n"
within 90 has_state stopped
is "$(state)" stopped "virsh shutdown stops it in order"
clean "virsh shutdown"

start
run msb exec -q "$n" -- sh -c 'echo c >/proc/sysrq-trigger; sleep 1000'
within 90 has_state crashed
is "$(state)" crashed "a guest panic is a crash"
clean "panic"

runs "rm" msb rm -q "$n"
is "$(vsh list --all --name | grep -c "$n")" 0 "the domain is undefined"
done_testing
