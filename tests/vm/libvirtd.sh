#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirt's daemon is killed under a running sandbox, and hangs under another: the machines run on,
# commands run and stop, and what libvirt knows is right again when it is back.
. "$(dirname "$0")/lib.bash"
[ "$(id -u)" != 0 ] || { echo "1..0 # SKIP root's daemon is the system's, and not ours to kill"; exit 0; }

# A session daemon of this test's own: others run beside it.
export XDG_RUNTIME_DIR=$tmp/run XDG_CONFIG_HOME=$tmp/config
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_CONFIG_HOME"
n=virt$id
daemon_pid() { cat "$XDG_RUNTIME_DIR"/libvirt/{libvirtd,virtqemud}.pid 2>/dev/null | head -n 1; }
another_daemon() { [ -n "$(daemon_pid)" ] && [ "$(daemon_pid)" != "$1" ] && kill -0 "$(daemon_pid)"; }
end_daemons() {
    cat "$XDG_RUNTIME_DIR"/libvirt/*.pid 2>/dev/null | while read -r pid; do kill -CONT "$pid" && kill "$pid"; done 2>/dev/null
}
trap 'kill -CONT "$(daemon_pid)" 2>/dev/null; at_exit; end_daemons; rm -rf "$tmp"' EXIT
status() { msb ls --format json | python3 -c 'import json,sys; print(next((s["status"] for s in json.load(sys.stdin) if s["name"] == sys.argv[1]), "none"))' "$n"; }
has_status() { [ "$(status)" = "$1" ]; }
reconnected() { [ "$(grep -c 'connected to libvirt again' "$MSB_HOME/sandboxes/$n/logs/supervisor.log")" -ge "$1" ]; }
# A hang would be a failure, not the end of the test.
bounded() { timeout -k 5 300 "$@"; }

runs "a sandbox" msb create -q -n "$n" busybox
mkfifo "$tmp/in"
bounded msb exec -q "$n" -- sh -c 'read -r line; echo "got $line"' <"$tmp/in" >"$tmp/out" &
reader=$!
exec 7>"$tmp/in"

first=$(daemon_pid)
like "$first" '^[0-9]+$' "it has a session daemon of its own"
kill -9 "$first"
within 90 gone "$first"
runs "the daemon was killed: a command runs" bounded msb exec -q "$n" -- sh -c 'echo kept >/root/file; sync'
within 90 reconnected 1
is $? 0 "the supervisor connects again"
another_daemon "$first"
is $? 0 "to another daemon"
is "$(vsh domstate "msb-$n")" running "which knows the machine"
is "$(status)" running "as msb does"
echo there >&7
wait "$reader"
is "$(cat "$tmp/out")" "got there" "a command that ran all the while has its input and output"
vsh destroy "msb-$n" >/dev/null
within 90 has_status stopped
is "$(status)" stopped "what the new one tells of the machine is heard: virsh destroy"

runs "it starts again" msb start -q "$n"
pid=$(daemon_pid)
kill -STOP "$pid"
is "$(bounded msb exec -q "$n" -- cat /root/file)" kept "the daemon hangs: a command runs"
like "$(bounded msb logs "$n")" kept "logs are shown"
is "$(status)" running "ls says that it runs"
qemu=$(qemu_pid "$n")
runs "it can be stopped" bounded msb stop -q -t 1 "$n"
within 90 gone "$qemu"
is $? 0 "QEMU has ended"
is "$(status)" stopped "ls says that it is stopped"
fails_with 1 "libvirt at .* does not answer" "one that needs libvirt says that this does not answer" \
    env MSB_LIBVIRT_TIMEOUT=2 timeout -k 5 300 msb rm -q "$n"
kill -CONT "$pid"
is "$(vsh domstate "msb-$n")" "shut off" "the daemon goes on: it knows that the machine ended"

runs "it starts again" msb start -q "$n"
kill -STOP "$pid"
supervisor=$(supervisor_pid "$n")
kill -9 "$supervisor"
within 90 gone "$supervisor"
is "$(MSB_LIBVIRT_TIMEOUT=2 status)" crashed "the supervisor is killed and the daemon hangs: ls says that it crashed"
kill -CONT "$pid"
is "$(vsh domstate "msb-$n")" running "QEMU runs on"
is "$(status)" crashed "the next command"
is "$(vsh domstate "msb-$n")" "shut off" "ends it"
runs "rm" msb rm -q "$n"
done_testing
