# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest for benchmarks: QEMU's microvm with a distribution's kernel, an initrd
with programs of this host, and a script for them to run.

Without msb, libvirt or an image: what differs between two sides is the device.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/shm
/bin/busybox mount -t tmpfs tmpfs /dev/shm
/bin/busybox mount -t tmpfs tmpfs /tmp
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/tmp
while read -r m; do insmod /modules/$m; done </modules/load
until [ -c /dev/vport0p1 ]; do usleep 10000; done
sh /script >/dev/vport0p1 2>&1 </dev/null
echo "exit $?" >/dev/vport0p1
poweroff -f
"""


def need(*programs):
    """Ends with 77 unless all are there."""
    for program in programs:
        if not shutil.which(program) and not os.access(program, os.X_OK):
            print("%s: %s is missing" % (os.path.basename(sys.argv[0]), program), file=sys.stderr)
            sys.exit(77)


def tsc_option():
    """Under TCG the guest cannot calibrate its TSC on a busy host: tell it the rate."""
    driver = os.path.join(os.environ.get("abs_top_builddir", "."), "tests/unit/agent/agent-driver")
    try:
        khz = subprocess.run([driver, "--print-tsc-khz"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return " tsc=reliable tsc_early_khz=" + khz


class Guest:
    """tree is an unpacked kernel package (boot/vmlinuz-*, lib/modules/* with modules.dep)."""

    def __init__(self, tree, modules, programs, memory=1024):
        self.version = os.listdir(os.path.join(tree, "lib/modules"))[0]
        self.kernel = os.path.join(tree, "boot/vmlinuz-" + self.version)
        self.tree = tree
        self.memory = memory
        self.dir = tempfile.mkdtemp(prefix="bench-guest.", dir="/var/tmp")
        self.root = os.path.join(self.dir, "root")
        os.makedirs(os.path.join(self.root, "bin"))
        os.makedirs(os.path.join(self.root, "modules"))
        shutil.copy(shutil.which("busybox"), os.path.join(self.root, "bin/busybox"))
        for program in programs:
            self.add_program(shutil.which(program))
        self.add_modules(["virtio_mmio", "virtio_console", *modules])
        with open(os.path.join(self.root, "init"), "w") as f:
            f.write(INIT)
        os.chmod(f.name, 0o755)

    def add_file(self, path):
        to = self.root + path
        if not os.path.exists(to):
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(path, to)

    def add_program(self, path):
        """With the libraries that it is linked to."""
        self.add_file(path)
        ldd = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", ldd):
            self.add_file(library)

    def add_modules(self, names):
        """With those they need, in the order of loading."""
        out = subprocess.run(["modprobe", "-a", "-d", self.tree, "-S", self.version, "--show-depends", *names],
                             capture_output=True, text=True, check=True).stdout
        paths = dict.fromkeys(re.findall(r"^insmod (\S+)", out, re.M))
        with open(os.path.join(self.root, "modules/load"), "w") as load:
            for path in paths:
                shutil.copy(path, os.path.join(self.root, "modules"))
                load.write(os.path.basename(path) + "\n")

    def run(self, script, devices, seconds=300):
        """Runs the shell script in a guest with these further QEMU options; its output."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with open(os.path.join(self.root, "script"), "w") as f:
            f.write(script)
        initrd, output, console = (os.path.join(self.dir, n) for n in ("initrd", "output", "console"))
        with open(initrd, "wb") as f:
            names = subprocess.run(["find", "."], cwd=self.root, capture_output=True, check=True).stdout
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=self.root, input=names, stdout=f, check=True)
        kvm = os.access("/dev/kvm", os.W_OK) and re.search(r"\b(vmx|svm)\b", open("/proc/cpuinfo").read())
        subprocess.run(
            ["qemu-system-x86_64", "-M", "microvm,acpi=on,memory-backend=mem", "-accel", "kvm" if kvm else "tcg",
             "-cpu", "host" if kvm else "max", "-m", str(self.memory),
             "-object", "memory-backend-memfd,id=mem,size=%dM,share=on" % self.memory,
             "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "file:" + console,
             "-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device",
             "-chardev", "file,id=out,path=" + output, "-device", "virtserialport,chardev=out",
             "-kernel", self.kernel, "-initrd", initrd,
             "-append", "quiet panic=-1 console=ttyS0 rdinit=/init" + ("" if kvm else tsc_option()), *devices],
            stdin=subprocess.DEVNULL, timeout=seconds, check=True)
        with open(output) as f:
            text = f.read()
        if not text.endswith("exit 0\n"):
            with open(console, errors="replace") as f:
                sys.exit("the guest's script failed:\n%s\nits console:\n%s" % (text[-2000:], f.read()[-2000:]))
        return text

    def close(self):
        shutil.rmtree(self.dir)
