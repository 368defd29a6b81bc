#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Mistakes get one clear message that names the object and the next step, the
# documented exit status, and leave nothing half-made.
. "$(dirname "$0")/lib.bash"

fails_with 1 'nosuchimage' "unknown image" msb run -q --pull=never nosuchimage -- true
fails_with 1 '127.0.0.1:1/' "a registry that is not there" msb run -q 127.0.0.1:1/nosuchimage -- true
fails_with 1 'bad/name' "bad name" msb create -q -n bad/name busybox
fails_with 1 'nosuchbox' "unknown sandbox" msb exec -q nosuchbox -- true
fails_with 2 'help' "unknown option" msb run --no-such-option busybox
fails_with 2 'nosuchcommand' "unknown command" msb nosuchcommand
fails_with 1 'CPU' "no CPUs" msb run -q -c 0 busybox -- true
fails_with 1 'memory' "no memory" msb run -q -m 0 busybox -- true
fails_with 1 'root disk of 0' "no root disk" msb run -q --root-disk 0 busybox -- true
fails_with 2 '12Q' "bad size" msb run -q -m 12Q busybox -- true

mkdir -p "$tmp/empty/images"
fails_with 1 'msb kernel import' "no kernel bundle" env MSB_HOME="$tmp/nokernel" sh -c \
    "mkdir -p -m 700 $tmp/nokernel && ln -s $MSB_HOME/images $tmp/nokernel/images && exec msb run -q busybox -- true"
fails_with 1 'kvm' "KVM asked for where there is none" env MSB_ACCEL=nonsense msb run -q busybox -- true
fails_with 1 'libvirt' "libvirtd unreachable" env XDG_RUNTIME_DIR=/proc/nowhere LIBVIRT_AUTOSTART=0 MSB_LIBVIRT_URI=qemu+unix:///session?socket=/nonexistent msb run -q busybox -- true
# A tenth of a second is too short for any machine, a whole one for those that emulate theirs.
MSB_BOOT_TIMEOUT=100ms fails_with 1 'not ready after' "a guest that does not answer in time" msb run -q busybox -- true
if ! grep -qwE 'vmx|svm' /proc/cpuinfo; then
    MSB_BOOT_TIMEOUT=1 fails_with 1 'not ready after' "nor in a little more" msb run -q busybox -- true
fi

head -c 1000 /dev/urandom >"$tmp/garbage.tar"
fails_with 1 'garbage.tar' "an archive that is none" msb load -i "$tmp/garbage.tar" -t x
fails_with 1 'missing.tar' "an archive that is not there" msb load -i "$tmp/missing.tar" -t x
# A full disk of the host.
mkdir "$tmp/small"
small=(bash "$(dirname "$0")/small-disk.bash")
if ! "${small[@]}" 1m "$tmp/small" true 2>"$tmp/small.err"; then
    skip "a full disk of the host" "no namespaces to mount a small one in: $(head -n 1 "$tmp/small.err")"
else
    fails_with 1 'upper.raw.*No space left' "no space for the sandbox's disk" "${small[@]}" 200k "$tmp/small" msb run -q busybox -- true
    fails_with 1 'No space left' "no space for an image" "${small[@]}" 200k "$tmp/small" \
        sh -c "rm \$MSB_HOME/images && exec msb load -i '$MSB_TEST_FILES/busybox-oci' -t busybox"
    fails_with 1 'No space left' "no space for a kernel bundle" "${small[@]}" 2m "$tmp/small" \
        sh -c "rm \$MSB_HOME/kernel && exec msb kernel import '$MSB_TEST_KERNEL_PACKAGE'"
    runs "a disk that fills while the guest writes" "${small[@]}" 20m "$tmp/small" \
        msb run -q busybox -- sh -c 'dd if=/dev/zero of=/root/x bs=1M count=64; sync; dmesg | grep -c "I/O error" && echo alive'
    like "$out" alive "is an I/O error in the guest, which goes on"
fi
is "$(msb ls -q)" "" "no sandbox was left half-made"
is "$(find "$MSB_HOME/sandboxes" -mindepth 1 -maxdepth 1 -not -name '.locks' 2>/dev/null)" "" "nor a directory of one"
done_testing
