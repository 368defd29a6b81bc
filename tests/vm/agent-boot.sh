#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# msb-agent in real machines: every kind of root and mount, failures that the
# host is told, restricted mode, the ways to end, the console.  Bare QEMU (TCG)
# with its own block devices and virtiofsd, so that only the agent is tested.

. "$abs_top_srcdir/tests/vm/agent-lib.bash"

[ -n "${MSB_TEST_VMLINUX:-}" ] && [ -n "${MSB_TEST_MODULES:-}" ] ||
    skip_all "MSB_TEST_VMLINUX and MSB_TEST_MODULES do not name a kernel"
PATH=$PATH:/usr/sbin:/sbin
requires qemu-system-x86_64 cpio modprobe mkfs.erofs mke2fs debugfs e2fsck sfdisk busybox timeout python3
case $(file -L "$(command -v busybox)" 2>/dev/null) in
    *"dynamically linked"*) skip_all "busybox is not static" ;;
esac
virtiofsd=/usr/lib/qemu/virtiofsd
version=$(basename "$MSB_TEST_MODULES")
tsc=$("$driver" --print-tsc-khz)
work=$(mktemp -d)
trap cleanup EXIT
qemu_pid=''
virtiofsd_pid=''

# ---- images -------------------------------------------------------------------

make_root() { # make_root DIRECTORY: busybox and what a distribution's tree looks like
    local applet
    mkdir -p "$1"/{bin,etc,dev,proc,sys,run/app,var,usr/lib,data,root}
    cp "$(command -v busybox)" "$1/bin/busybox"
    for applet in $(busybox --list | grep -vx busybox); do ln -s busybox "$1/bin/$applet"; done
    ln -s usr/lib "$1/lib"
    ln -s /../../data "$1/escape"
    printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n' > "$1/etc/passwd"
    printf 'root:x:0:\napp:x:1000:\nextra:x:300:app\n' > "$1/etc/group"
    chmod 750 "$1/run/app"
    echo lower > "$1/etc/which"
}

make_gpt() { # make_gpt DISK IMAGE...: partition i holds image i
    local disk=$1 at=2048 image sectors
    shift
    local table=$work/table
    echo "label: gpt" > "$table"
    for image; do
        sectors=$(($(stat -c %s "$image") / 512))
        echo "start=$at,size=$sectors" >> "$table"
        at=$(((at + sectors + 2047) / 2048 * 2048))
    done
    truncate -s $(((at + 2048) * 512)) "$disk"
    sfdisk -q "$disk" < "$table"
    at=2048
    for image; do
        dd if="$image" of="$disk" bs=512 seek=$at conv=notrunc status=none
        at=$(((at + $(stat -c %s "$image") / 512 + 2047) / 2048 * 2048))
    done
}

make_ext4() { # make_ext4 FILE SIZE [DIRECTORY]
    truncate -s "$2" "$1"
    mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 ${3:+-d "$3"} "$1"
}

make_root "$work/l1"
printf '10.9.9.9 old\n' > "$work/l1/etc/hosts"
mkdir -p "$work/l2/etc"
echo upper > "$work/l2/etc/which"
# A module tree of the least size: the power button, and a file system that the initrd has not.
mkdir -p "$work/tree"
for module in button squashfs; do
    modprobe -S "$version" -d "$(dirname "$(dirname "$(dirname "$MSB_TEST_MODULES")")")" --show-depends $module |
        awk '$1 == "insmod" { print $2 }' | while read -r path; do
            mkdir -p "$work/tree/$(dirname "${path#*"$version"/}")"
            cp "$path" "$work/tree/${path#*"$version"/}"
        done
done
cp "$MSB_TEST_MODULES/modules.dep" "$work/tree/"
for image in l1 l2 tree; do mkfs.erofs "$work/$image.img" "$work/$image" > /dev/null 2>&1; done
make_gpt "$work/layers" "$work/l1.img" "$work/l2.img" "$work/tree.img"
make_ext4 "$work/upper" 64M
make_initrd "$work/initrd" virtio_mmio virtio_console virtio_blk virtiofs erofs overlay
mkdir "$work/volume"
echo "in the volume" > "$work/volume/file"
make_ext4 "$work/vol.img" 16M "$work/volume"

layers="$(disk l "$work/layers" layers ,readonly=on)"
upper="$(disk u "$work/upper" upper)"

# ---- an image with two layers ---------------------------------------------------

start_qemu $layers $upper $(disk v "$work/vol.img" vol0)
drive_to_end --root=overlay: --layers=2 --modules="layers:3:$version" --hostname=box --host="10.1.1.1 peer" \
    --env=GREETING=hello --workdir=/etc --realtime=4102444800000000000 \
    --mount=disk,vol0,/escape/vol --mount=tmpfs,,/mnt/scratch,noexec,,,1048576 --mount=disk,vol0x,/never --shutdown=0
matches '^boot-failed mount 19 vol0x: There is no disk of this serial$' "a disk that is not there fails the boot by name"

start_qemu $layers $upper $(disk v "$work/vol.img" vol0)
drive_to_end --root=overlay: --layers=2 --modules="layers:3:$version" --hostname=box --host="10.1.1.1 peer" \
    --env=GREETING=hello --workdir=/etc --realtime=4102444800000000000 \
    --mount=disk,vol0,/escape/vol --mount=tmpfs,,/mnt/scratch,noexec,,,1048576 \
    --run='cat /etc/which; echo $GREETING; pwd; hostname; echo $HOME; date +%Y' \
    --run='cat /data/vol/file; stat -f -c %T /data/vol; grep -c " /data/vol " /proc/mounts' \
    --run='grep " /mnt/scratch " /proc/mounts | grep -o noexec; df -k /mnt/scratch | awk "NR == 2 { print \$2 }"' \
    --run='cat /etc/hosts' \
    --run='ls -d /usr/lib/modules/*/modules.dep | wc -l; stat -c %a /run/app /run/lock /tmp; cat /.msb/version' \
    --run='cat /proc/self/oom_score_adj /proc/1/oom_score_adj; ulimit -n; ip link show lo | grep -o UP | head -1' \
    --run='ls -l /dev/fd /dev/stdin | wc -l; test -c /dev/null -a -d /dev/shm && grep -c cgroup2 /proc/mounts' \
    --run='ls / | grep -cE "^(r|l|u|x|init|modules)$"' \
    --as=app --run='id; cd; echo $HOME $USER' \
    --as=1234:300 --run='id -u; id -g; id -G' \
    --as=nobody --run='true' \
    --as= --tty='tty; stty size; echo $TERM' \
    --run='kill -SEGV $$' --run='sleep 1000 & echo started' --run='echo kept > /data/kept; sync; exit 42' --shutdown=2000
matches '^ready [0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9.]+$' "it is ready"
has "out: upper" "the higher layer is on top"
has "out: hello" "the environment is set"
has "out: /etc" "the working directory is set"
has "out: box" "the host name is set"
has "out: 2100" "the clock is set"
has "out: in the volume" "a volume is mounted through a link that points outside, inside the root"
has "out: noexec" "a tmpfs is mounted with its flags"
has "out: 1024" "and with its size"
has "out: 10.9.9.9 old" "the image's hosts are kept"
has "out: 10.1.1.1 peer" "and ours are added"
has "out: 750" "what the image has in /run is there"
has "out: 1777" "/tmp is world-writable"
has "out: -1000" "the agent is protected from the OOM killer"
has "out: UP" "the loopback interface is up"
matches '^out: uid=1000\(app\) gid=1000\(app\) groups=.*300\(extra\)' "a user with supplementary groups"
has "failed 4 0 nobody" "an unknown user is named"
matches '^out: 33 77' "a terminal has its size"
has "signal 11" "death by signal"
has "exit 42" "an exit code"
if grep -A3 -qxF 'out: 1234' "$work/out" && grep -qxF 'out: 300' "$work/out"; then ok 0 "numbers as user and group"; else ok 1 "numbers as user and group"; fi
! grep -q '^boot-failed' "$work/out"; ok $? "nothing failed"
e2fsck -fn "$work/upper" > "$work/fsck" 2>&1; ok $? "the upper file system is clean afterwards"
! debugfs -R stats "$work/upper" 2>/dev/null | grep -q needs_recovery; ok $? "its journal is empty"
! debugfs -R stats "$work/vol.img" 2>/dev/null | grep -q needs_recovery; ok $? "the volume's too"

start_qemu $layers $upper
drive_to_end --root=overlay: --layers=2 --hostname=box --host="10.1.1.1 peer" \
    --run='cat /data/kept; grep -c peer /etc/hosts; wc -l < /etc/hosts' --run='poweroff' --wait-end
has "out: kept" "the upper layer survives"
has "out: 1" "hosts do not pile up"
has "out: 5" "not by a line"

layer_images=()
for i in $(seq 100); do
    mkdir -p "$work/many/$i/n"
    echo "$i" > "$work/many/$i/n/$i"
    echo "$i" > "$work/many/$i/top"
    mkfs.erofs "$work/many/$i.img" "$work/many/$i" > /dev/null 2>&1
    layer_images+=("$work/many/$i.img")
done
make_gpt "$work/many.disk" "$work/l1.img" "${layer_images[@]}"
start_qemu $(disk l "$work/many.disk" layers ,readonly=on) $upper
drive_to_end --root=overlay: --layers=101 --run='ls /n | wc -l; cat /top; cat /etc/which' --shutdown=0
has "out: 100" "a hundred layers and one"
grep -A1 -xF 'out: 100' "$work/out" | grep -qxF 'out: 100'; ok $? "in their order"

# ---- failures -------------------------------------------------------------------

dd if=/dev/urandom of="$work/noise" bs=1M count=8 status=none
start_qemu $layers $(disk u "$work/noise" upper)
drive_to_end --root=overlay: --layers=2
matches '^boot-failed root 22 /dev/vd.: The ext4 file system cannot be mounted' "an upper layer that is none"
start_qemu $(disk d "$work/noise" d0)
drive_to_end --root=disk:d0
matches '^boot-failed root 0 d0: The disk has no known file system' "a disk without a file system"
start_qemu $layers $upper
drive_to_end --root=overlay: --layers=1 --mount=nonsense,a,/b
matches '^boot-failed mount 22 /b: The kind of mount 99 is unknown$' "a mount of an unknown kind"
start_qemu $layers $upper
drive_to_end --root=overlay: --layers=1 --mount=tmpfs,,/proc/../a/..
matches '^boot-failed mount 22 /proc/../a/..: The mount point is the root itself$' "a mount on the root itself"
start_qemu
drive_to_end --root=virtiofs:nothing
matches '^boot-failed root [0-9]+ nothing: The virtiofs file system cannot be mounted' "a share that is not there"

# ---- disks as roots ---------------------------------------------------------------

make_root "$work/d"
make_ext4 "$work/d.img" 32M "$work/d"
make_gpt "$work/parted" "$work/noise" "$work/d.img"
start_qemu $(disk d "$work/parted" d0)
drive_to_end --root=disk:d0 --hostname=disk --run='grep " / " /proc/mounts; cat /etc/hosts; echo kept > /kept' --shutdown=0
matches '^out: /dev/vda2 / ext4 rw' "the partition with a file system is the root"
matches '127.0.1.1.disk' "its hosts file is made"
start_qemu $(disk d "$work/d.img" d0 ,readonly=on)
drive_to_end --root=disk:d0:ext4 --hostname=ro --run='grep " / " /proc/mounts; cat /etc/hosts; touch /x && ls /x' --shutdown=0
matches '^out: overlay / overlay rw.*lowerdir=/d' "a read-only disk without partitions is the root, under memory"
has "out: /x" "in which changes are"
e2fsck -fn "$work/d.img" > "$work/fsck" 2>&1; ok $? "and not on the disk"
if command -v mksquashfs > /dev/null; then
    mksquashfs "$work/d" "$work/d.squash" -quiet -no-progress -all-root > /dev/null 2>&1
    start_qemu $(disk d "$work/d.squash" d0 ,readonly=on) $(disk m "$work/tree.img" mods ,readonly=on)
    drive_to_end --root=disk:d0 --modules="mods:0:$version" --run='grep " / " /proc/mounts; cat /etc/which' --shutdown=0
    matches '^out: overlay / overlay rw.*lowerdir=/d' "a file system whose module comes from the modules image"
    has "out: lower" "with what is in it"
else
    echo "# mksquashfs is not installed: no squashfs root"
fi

# ---- restricted -------------------------------------------------------------------

start_qemu $layers $upper
drive_to_end --root=overlay: --layers=2 --restricted --mount=tmpfs,,/mnt/t \
    --run='grep -E "NoNewPrivs|CapBnd|CapEff" /proc/self/status' --run='mount -t tmpfs x /mnt && echo mounted' \
    --run='grep " /mnt/t " /proc/mounts | grep -o "nosuid,nodev"' --shutdown=0
matches '^out: NoNewPrivs:.1$' "no new privileges"
! grep -q mounted "$work/out"; ok $? "no mounting"
has "out: nosuid,nodev" "mounts cannot carry privileges"

# ---- the ways to end ----------------------------------------------------------------

monitor() { # monitor COMMAND
    python3 - "$work/monitor.sock" "$1" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(120)
def prompt():
    seen = b""
    while b"(qemu) " not in seen:
        seen += s.recv(4096)
prompt(); s.sendall(sys.argv[2].encode() + b"\n"); prompt()
PY
}

start_qemu $layers $upper
"$driver" --connect="$work/agent.sock" --root=overlay: --layers=2 --modules="layers:3:$version" \
    --run='for i in $(seq 2400); do test -d /sys/module/button && break; usleep 50000; done; ls -d /sys/module/button' \
    --run='echo now; trap "echo asked; exit 9" TERM; for i in $(seq 6000); do usleep 20000; done' --wait-end \
    > "$work/out" 2>&1 &
driver_pid=$!
for _ in $(seq 2400); do grep -q /sys/module/button "$work/out" && break; read -r -t 0.05 _ <> <(:) || true; done
matches '^out: /sys/module/button' "the power button's driver is loaded"
monitor system_powerdown
wait_qemu 120; ok $? "the power button ends the machine"
wait "$driver_pid"
has "out: asked" "after its processes were asked"
has "exit 9" "and had answered"

append=msb.bare start_qemu
wait_qemu 120; ok $? "msb.bare loads the modules and powers off"

acpi=off append="virtio_mmio.device=512@0xfeb00e00:12" start_qemu
wait_qemu 180; ok $? "a machine whose port never comes goes off as well"
grep -q 'boot failed (devices, "org.msb.agent.0")' "$work/console"; ok $? "and says why on its console"

# ---- console ------------------------------------------------------------------------

start_qemu $layers $upper
# What the console says while nobody is connected is lost: the agent gets its boot frame when somebody is.
mkfifo "$work/connected"
{
    read -r -t 120 _ <> "$work/connected"
    exec "$driver" --connect="$work/agent.sock" --root=overlay: --layers=2 --run='true' --wait-end > "$work/out" 2>&1
} &
driver_pid=$!
python3 - "$work/serial.sock" "$work/connected" > "$work/serial" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(120)
open(sys.argv[2], "w").write("yes\n")
seen = b""
def expect(what):
    global seen
    while what not in seen:
        seen += s.recv(4096)
    print("seen", what.decode())
    seen = seen[seen.index(what) + len(what):]
expect(b"Press Enter"); s.sendall(b"\n")
expect(b"# "); s.sendall(b"echo $((6*7)); tty\n")
expect(b"42"); expect(b"/dev/ttyS0")
expect(b"# "); s.sendall(b"sh -c 'echo $((8*8)); exec sleep 1000'\n")
# The job runs in its own process group by now, so the interrupt is for it alone.
expect(b"64"); s.sendall(b"\x03")
expect(b"# "); s.sendall(b"exit\n")
expect(b"Press Enter"); s.sendall(b"\n")
expect(b"# "); s.sendall(b"poweroff\n")
while s.recv(4096):
    pass
PY
ok $? "a shell on the console, with job control, again and again, until it powers off"
wait_qemu 120; ok $? "the machine went off by itself"
wait "$driver_pid"

# What is typed before the invitation stands there is an answer to it as well: it may be on its way already.
start_qemu $layers $upper
mkfifo "$work/events"
"$driver" --connect="$work/agent.sock" --root=overlay: --layers=2 --wait-end > "$work/events" 2>&1 &
driver_pid=$!
python3 - "$work/serial.sock" "$work/events" > "$work/serial" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(120)
events = open(sys.argv[2], "rb", buffering=0)
while not events.readline().startswith(b"ready "):
    pass
s.sendall(b"\n")
seen = b""
while b"# " not in seen:
    seen += s.recv(4096)
s.sendall(b"poweroff\n")
while s.recv(4096):
    pass
PY
ok $? "Enter that comes before the invitation brings a shell"
wait_qemu 120; ok $? "which ends the machine"
wait "$driver_pid"

# ---- shares -------------------------------------------------------------------------

share() { # share DIRECTORY [OPTION...]: virtiofsd for it at $work/fs.sock
    rm -f "$work/fs.sock"
    "$virtiofsd" --socket-path="$work/fs.sock" -o source="$1" -o sandbox=chroot > "$work/virtiofsd.log" 2>&1 &
    virtiofsd_pid=$!
    for _ in $(seq 2400); do [ -S "$work/fs.sock" ] && return; read -r -t 0.05 _ <> <(:) || true; done
}
if [ -x "$virtiofsd" ] && [ "$(id -u)" = 0 ]; then
    fs="-chardev socket,id=fs0,path=$work/fs.sock -device vhost-user-fs-device,chardev=fs0,tag="
    share "$work/volume"
    start_qemu $layers $upper ${fs}m0
    drive_to_end --root=overlay: --layers=2 --mount=virtiofs,m0,/new/place,ro \
        --run='cat /new/place/file; touch /new/place/x' --shutdown=0
    has "out: in the volume" "a shared directory"
    has "exit 1" "read-only"
    share "$work/volume"
    start_qemu $layers $upper ${fs}m0
    drive_to_end --root=overlay: --layers=2 --mount=virtiofs,m0,/etc/app/one.conf,file,,file \
        --run='cat /etc/app/one.conf; ls /etc/app; echo changed > /etc/app/one.conf' --shutdown=0
    has "out: in the volume" "a shared file"
    has "out: one.conf" "alone"
    [ "$(cat "$work/volume/file")" = changed ]; ok $? "and writable"
    make_root "$work/bind"
    echo "1.1.1.1 hosts" > "$work/bind/etc/hosts"
    before=$(cd "$work/bind" && find . | sort)
    share "$work/bind"
    start_qemu ${fs}root
    drive_to_end --root=virtiofs:root --hostname=bound --run='cat /etc/which /etc/hosts; echo written > /data/new' --shutdown=0
    has "out: lower" "a directory as root"
    matches '127.0.1.1.bound' "its hosts file has our names"
    [ "$(cat "$work/bind/etc/hosts")" = "1.1.1.1 hosts" ]; ok $? "on the host it has not"
    [ "$(cat "$work/bind/data/new")" = written ]; ok $? "what commands write is there"
    rm "$work/bind/data/new"; rmdir "$work/bind/tmp" "$work/bind/var/tmp" 2>/dev/null
    [ "$before" = "$(cd "$work/bind" && find . | sort)" ]; ok $? "and nothing else but a missing /tmp"
else
    echo "# no virtiofsd, or not root: no shares"
fi

done_testing
