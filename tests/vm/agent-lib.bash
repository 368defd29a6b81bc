# SPDX-License-Identifier: LGPL-2.1-or-later
# For tests that boot msb-agent in a bare QEMU, without libvirt, supervisor or
# our own back ends: makes an initrd and disks, starts and stops the machine.
#
# MSB_TEST_VMLINUX  an uncompressed PVH kernel
# MSB_TEST_MODULES  its lib/modules/<version> directory, with modules.dep

agent=$abs_top_builddir/agent/msb-agent
driver=$abs_top_builddir/tests/unit/agent/agent-driver
count=0
failures=0

skip_all() { echo "1..0 # SKIP $*"; exit 0; }

requires() {
    local program
    for program; do
        command -v "$program" >/dev/null || skip_all "$program is not installed"
    done
}

ok() { # ok CONDITION-STATUS DESCRIPTION
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        failures=$((failures + 1))
        echo "not ok $count - $2"
        sed 's/^/# /' "$work/out" 2>/dev/null
        tail -5 "$work/console" 2>/dev/null | sed 's/^/# console: /'
    fi
}

# has LINE: the last driver's output has this very line.
has() { grep -qxF -- "$1" "$work/out"; ok $? "$2"; }
matches() { grep -qE -- "$1" "$work/out"; ok $? "$2"; }

done_testing() {
    echo "1..$count"
    [ "$failures" -eq 0 ]
}

cleanup() {
    [ -z "${qemu_pid:-}" ] || { kill "$qemu_pid" 2>/dev/null; wait "$qemu_pid" 2>/dev/null; }
    [ -z "${virtiofsd_pid:-}" ] || { kill "$virtiofsd_pid" 2>/dev/null; wait "$virtiofsd_pid" 2>/dev/null; }
    rm -rf "$work"
}

# make_initrd FILE [MODULE...]: the agent as /init and the modules with what they need, in load order.
make_initrd() {
    local to=$1 dir=$work/initrd.d version path
    shift
    version=$(basename "$MSB_TEST_MODULES")
    rm -rf "$dir"; mkdir -p "$dir/modules" "$dir/dev" "$dir/proc" "$dir/sys"
    cp "$agent" "$dir/init"
    mkdir -p "$work/mods/lib/modules"
    ln -sfn "$(readlink -f "$MSB_TEST_MODULES")" "$work/mods/lib/modules/$version"
    modprobe -a -S "$version" -d "$work/mods" --show-depends "$@" 2>/dev/null |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
        while read -r path; do
            cp "$path" "$dir/modules/"
            basename "$path"
        done > "$dir/modules/load"
    (cd "$dir" && find . | cpio -o -H newc --quiet) > "$to"
}

# start_qemu [QEMU OPTION...]: the machine with the agent's port at $work/agent.sock.
start_qemu() {
    rm -f "$work/agent.sock" "$work/monitor.sock" "$work/serial.sock"
    : > "$work/console"
    qemu-system-x86_64 -M "microvm,acpi=${acpi:-on}" -accel tcg -cpu max -m 512 -nodefaults -no-user-config -no-reboot \
        -display none -object memory-backend-memfd,id=mem,size=512M,share=on -machine memory-backend=mem \
        -kernel "$MSB_TEST_VMLINUX" -initrd "${initrd:-$work/initrd}" \
        -append "quiet panic=-1 reboot=t console=ttyS0 rdinit=/init tsc=reliable tsc_early_khz=$tsc ${append:-}" \
        -global virtio-mmio.force-legacy=false -device virtio-serial-device \
        -chardev "socket,path=$work/agent.sock,server=on,wait=off,id=agent" \
        -device virtserialport,chardev=agent,name=org.msb.agent.0 \
        -chardev "socket,path=$work/serial.sock,server=on,wait=off,id=serial,logfile=$work/console" -serial chardev:serial \
        -chardev "socket,path=$work/monitor.sock,server=on,wait=off,id=monitor" -mon monitor \
        "$@" </dev/null >"$work/qemu.log" 2>&1 &
    qemu_pid=$!
    wait_for_file "$work/agent.sock"
}

# wait_for_file PATH: at most a minute; inotify through tail would need a file, so poll the name.
wait_for_file() {
    local end=$((SECONDS + 60))
    until [ -e "$1" ]; do
        [ $SECONDS -lt $end ] && kill -0 "$qemu_pid" 2>/dev/null || { sed 's/^/# /' "$work/qemu.log"; return 1; }
        read -r -t 0.02 _ <> <(:) || true
    done
}

# drive OPTION...: what the driver prints is in $work/out; the machine must end by itself afterwards.
drive() {
    "$driver" --connect="$work/agent.sock" "$@" > "$work/out" 2>&1 || true
}

# The machine has ended within N seconds.
wait_qemu() {
    timeout "$1" tail --pid="$qemu_pid" -f /dev/null
    local r=$?
    [ $r -eq 0 ] || kill "$qemu_pid" 2>/dev/null
    wait "$qemu_pid" 2>/dev/null
    qemu_pid=
    return $r
}

drive_to_end() {
    drive "$@"
    wait_qemu 120
    ok $? "the machine went off by itself"
}

disk() { # disk ID FILE SERIAL [OPTION]
    echo "-drive if=none,id=$1,file=$2,format=raw${4:-} -device virtio-blk-device,drive=$1,serial=$3"
}
