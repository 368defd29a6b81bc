# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# What ./demo and ./check share; sourced by both with $top set.  Brings a bare
# Debian machine to the point where sandboxes run: packages, build,
# installation below a work directory, services, an ordinary account when run
# as root, the kernel bundle and a small image.  Every step looks first whether
# its work is already there, so that a second run does nothing twice.

set -u -o pipefail
: "${top:?}"
export LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive
export PATH=$PATH:/usr/sbin:/sbin # depmod and e2fsck, for ordinary users

builddir=${MSB_BUILDDIR_TOP:-$top/build}
work=${MSB_WORK:-/var/tmp/msb-$EUID-$(printf %s "$top" | sha256sum | cut -c1-8)}
prefix=$work/install
cache=$work/cache
started_pids=()

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&3; }
[ -t 1 ] || say() { printf '==> %s\n' "$*" >&3; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
    if [ "$EUID" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

# The default work directory has a name that everybody knows, in a place where everybody may make it.  Programs
# are run from it, as root too: one that somebody else made, or may write to, is not taken.
ensure_work() {
    (umask 022 && mkdir -p "$work") || exit 1
    if [ "$(stat -c %u "$work")" != "$EUID" ] || [ "$(stat -L -c %u "$work")" != "$EUID" ] ||
        [ -n "$(find -H "$work" -maxdepth 0 -perm /022)" ]; then
        die "'$work' belongs to somebody else, or others may write to it: remove it, or set MSB_WORK to a directory of your own"
    fi
}

# Without asking anybody, as nobody may be there to answer.
can_be_root() { [ "$EUID" = 0 ] || sudo -n true 2>/dev/null; }

# Quiet unless it fails: then the log is shown.
quietly() {
    local log=$work/log/$1
    shift
    mkdir -p "$work/log"
    "$@" >"$log" 2>&1 </dev/null || {
        local rc=$?
        tail -n 40 "$log" >&2
        die "failed ($rc): $* (whole log: $log)"
    }
}

# ---- packages ---------------------------------------------------------------

build_packages=(
    autoconf automake autopoint gcc gettext libtool make musl-tools perl pkgconf
    libarchive-dev libcap-ng-dev libcurl4-openssl-dev libext2fs-dev libgcrypt20-dev libglib2.0-dev libjson-glib-dev
    libsecret-1-dev
    liblz4-dev liblzma-dev liburing-dev libseccomp-dev libvirt-dev libvirt-glib-1.0-dev libxml2-dev libzstd-dev zlib1g-dev
    libbfio-dev libdeflate-dev libqcow-dev libvmdk-dev
)
run_packages=(
    kmod libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system
    qemu-system-common qemu-system-x86 busybox-static umoci util-linux
)
test_packages=(
    acl attr clang debootstrap e2fsprogs erofs-utils fdisk fio gdisk libcap2-bin libclang-rt-14-dev libxml2-utils
    btrfs-progs dosfstools squashfs-tools xfsprogs
    dbus gnome-keyring libsecret-tools
    podman buildah skopeo docker-registry python3 python3-libvirt qemu-utils shellcheck valgrind xz-utils zstd cpio file
)

missing_packages() {
    local p
    for p in "$@"; do
        case $p in *-) continue ;; esac
        dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || echo "$p"
    done
}

ensure_packages() {
    local missing
    ensure_work
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    [ "$EUID" = 0 ] || command -v sudo >/dev/null || die "these packages are missing and there is no sudo to install them: ${missing[*]}"
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    quietly apt-update as_root apt-get -q update
    quietly apt-install as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# ---- build and installation ---------------------------------------------------

ensure_build() {
    if ! [ "$top/configure" -nt "$top/configure.ac" ]; then
        say "autogen.sh"
        quietly autogen "$top/autogen.sh"
    fi
    mkdir -p "$builddir"
    if ! [ -f "$builddir/config.status" ] || ! "$builddir/config.status" --config | grep -qF -- "--prefix=$prefix"; then
        say "configure (in ${builddir#"$top"/})"
        quietly configure env --chdir="$builddir" "$top/configure" --enable-werror --prefix="$prefix"
    fi
    say "make"
    quietly make make -s -j"$(nproc)" -C "$builddir"
    if ! [ -f "$prefix/.stamp" ] || [ -n "$(find "$builddir" -newer "$prefix/.stamp" -type f \( -perm -u+x -o -name '*.so*' -o -name '*.1' -o -name '*.gmo' \) -print -quit)" ]; then
        say "make install (below $work)"
        quietly install make -s -C "$builddir" install
        touch "$prefix/.stamp"
    fi
}

# ---- the account that sandboxes run under ---------------------------------------

# An ordinary user runs everything itself.  For root there is a throw-away
# account; as_user runs a command there with a clean environment.
ensure_user() {
    mkdir -p "$work" "$cache"
    if [ "$EUID" != 0 ]; then
        user=$(id -un)
        uhome=$work/user
        mkdir -p "$uhome"
    else
        user=${MSB_TEST_USER:-msb-check}
        uhome=$work/user
        if ! id "$user" >/dev/null 2>&1; then
            say "making the throw-away account $user"
            quietly useradd useradd --system --no-create-home --home-dir "$uhome" --shell /bin/bash --user-group "$user"
            user_is_ours=yes
        fi
        mkdir -p "$uhome"
        chmod 755 "$work"
        [ "$(stat -c %U "$uhome")" = "$user" ] || chown -R "$user:" "$uhome"
        fix_kvm_permissions
        if getent group kvm >/dev/null; then usermod -a -G kvm "$user"; fi
    fi
    urun=$uhome/run
    as_user mkdir -p "$urun"
    as_user chmod 700 "$urun"
    if [ "${MSB_NO_CLEANUP:-}" != 1 ]; then trap cleanup EXIT; fi
}

as_user() {
    local run=(env -i "HOME=$uhome" "USER=$user" "LOGNAME=$user" "PATH=$prefix/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        "XDG_RUNTIME_DIR=$urun" "LC_ALL=C.UTF-8" "TERM=${TERM:-dumb}" "MSB_HOME=${MSB_HOME:-$uhome/.microsandbox}")
    local v
    for v in ${!MSB_TEST_@} MSB_ACCEL MSB_BOOT_TIMEOUT; do
        [ -z "${!v:-}" ] || run+=("$v=${!v}")
    done
    if [ "$EUID" = 0 ] && [ "$user" != root ]; then
        (cd / && runuser -u "$user" -- "${run[@]}" "$@")
    else
        (cd / && "${run[@]}" "$@")
    fi
}

# udev's own rule, for machines without udev: libvirtd would otherwise probe QEMU
# again at every domain start.
fix_kvm_permissions() {
    [ -c /dev/kvm ] || return 0
    [ "$(stat -c %G /dev/kvm)" != kvm ] || return 0
    getent group kvm >/dev/null || return 0
    as_root chgrp kvm /dev/kvm
    as_root chmod 660 /dev/kvm
}

# ---- services ------------------------------------------------------------------

# The system's libvirtd, for root's sandboxes.  The user's own session daemons
# are started by libvirt itself.
ensure_system_libvirt() {
    as_root virsh -q -c qemu:///system uri >/dev/null 2>&1 && return 0
    if [ -d /run/systemd/system ]; then
        say "starting libvirtd"
        quietly libvirtd as_root systemctl start virtlogd.socket libvirtd
    else
        say "starting virtlogd and libvirtd (no service manager here)"
        as_root mkdir -p /run/libvirt
        start_daemon virtlogd /usr/sbin/virtlogd
        start_daemon libvirtd /usr/sbin/libvirtd
    fi
    wait_until 60 as_root virsh -q -c qemu:///system uri || die "libvirtd does not answer on qemu:///system"
}

start_daemon() {
    local name=$1
    shift
    [ -e "/run/$name.pid" ] && as_root kill -0 "$(cat "/run/$name.pid")" 2>/dev/null && return 0
    as_root setsid "$top/build-aux/reaper" "$@" -p "/run/msb-$name.pid" >"$work/log/$name" 2>&1 </dev/null 3>&- &
    started_pids+=("/run/msb-$name.pid")
}

# wait_until SECONDS COMMAND...: until it succeeds, looking again whenever it fails.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -r -t 0.2 <> <(:) || :
    done
}

# Ends what this run started, by process id.
cleanup() {
    local f p
    # The account's files say which: nothing that it could not end itself.
    for f in "$urun"/libvirt/libvirtd.pid "$urun"/libvirt/virtlogd.pid; do
        [ -s "$f" ] && p=$(as_user cat "$f") && as_user kill -- "$p" 2>/dev/null && wait_gone "$p"
    done
    for f in ${started_pids[@]+"${started_pids[@]}"}; do
        [ -s "$f" ] && p=$(cat "$f") && as_root kill "$p" 2>/dev/null && wait_gone "$p"
    done
    if [ "${user_is_ours:-}" = yes ]; then userdel "$user" >/dev/null 2>&1 || :; fi
}

wait_gone() {
    wait_until 20 test ! -d "/proc/$1" || :
}

# ---- kernel bundle and images -----------------------------------------------------

fetch_kernel_package() {
    local name
    name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
    if [ -z "$name" ]; then
        quietly apt-update as_root apt-get -q update
        name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
    fi
    [ -n "$name" ] || die "no linux-image-cloud-amd64 in the package lists"
    kernel_package=$(find "$cache" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
    if [ -z "$kernel_package" ]; then
        say "downloading $name (not installed, only unpacked)"
        quietly kernel-download env --chdir="$cache" apt-get download "$name"
        kernel_package=$(find "$cache" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
    fi
    chmod a+r "$kernel_package"
    kernel_version=${name#linux-image-}
}

ensure_kernel() {
    fetch_kernel_package
    as_user msb kernel ls 2>/dev/null | grep -qF "$kernel_version" && return 0
    say "msb kernel import ${kernel_package##*/}"
    as_user msb kernel import "$kernel_package" >&3 2>&1 || die "the kernel bundle could not be made"
}

# A busybox image in OCI layout, made of Debian's static busybox by umoci.
ensure_busybox_layout() {
    busybox_layout=$cache/busybox-oci
    [ -f "$busybox_layout/index.json" ] && return 0
    say "making the busybox image (umoci, Debian's busybox-static)"
    rm -rf "$cache/busybox.tmp"
    mkdir -p "$cache/busybox.tmp"
    quietly busybox-image make_busybox "$cache/busybox.tmp"
    mv "$cache/busybox.tmp/oci" "$busybox_layout"
    rm -rf "$cache/busybox.tmp"
    chmod -R a+rX "$busybox_layout"
}

make_busybox() {
    local d=$1 r=$1/bundle/rootfs a
    umoci init --layout "$d/oci" &&
        umoci new --image "$d/oci:latest" &&
        umoci unpack --rootless --image "$d/oci:latest" "$d/bundle" &&
        mkdir -p "$r"/{bin,sbin,etc,root,tmp,var/tmp,proc,sys,dev,usr/bin,usr/sbin} &&
        chmod 1777 "$r/tmp" "$r/var/tmp" && chmod 700 "$r/root" &&
        cp "$(command -v busybox)" "$r/bin/busybox" || return 1
    for a in $("$r/bin/busybox" --list); do
        [ "$a" = busybox ] || ln -s busybox "$r/bin/$a" || return 1
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nguest:x:1000:1000:guest:/home/guest:/bin/sh\n' >"$r/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\nguest:x:1000:\nwheel:x:10:guest\n' >"$r/etc/group"
    mkdir -p "$r/home/guest"
    umoci repack --image "$d/oci:latest" "$d/bundle" &&
        umoci config --image "$d/oci:latest" --config.cmd /bin/sh --config.env PATH=/bin:/sbin:/usr/bin:/usr/sbin \
            --config.workingdir /root --author msb
}

ensure_busybox_image() {
    ensure_busybox_layout
    as_user msb image inspect busybox >/dev/null 2>&1 && return 0
    say "msb load -i busybox-oci -t busybox"
    as_user msb load -i "$busybox_layout" -t busybox >&3 2>&1 || die "the busybox image could not be loaded"
}
