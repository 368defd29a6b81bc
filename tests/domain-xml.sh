#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The golden domain XML files are what libvirt's own schema and parser accept,
# and their metadata is what ours describes.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
schema=/usr/share/libvirt/schemas/domain.rng
files=("$srcdir"/tests/xml/*.xml)
count=0
failed=0
tmp=$(mktemp -d "${TMPDIR:-/tmp}/msbt-xml-XXXXXX")
trap 'rm -rf "$tmp"' EXIT

verdict() {
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        failed=$((failed + 1))
        echo "not ok $count - $2"
        sed 's/^/# /' "$tmp/out"
    fi
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

if ! command -v xmllint >/dev/null; then
    echo "1..0 # SKIP xmllint (libxml2-utils) is not installed"
    exit 0
fi
for file in "${files[@]}"; do
    name=$(basename "$file")
    if [ -f "$schema" ]; then
        xmllint --noout --relaxng "$schema" "$file" >"$tmp/out" 2>&1
        verdict $? "$name: libvirt's schema"
    else
        skip "$name: libvirt's schema" "$schema is not installed"
    fi
    xmllint --xpath "/domain/metadata/*[local-name()='sandbox']" "$file" >"$tmp/metadata.xml" 2>"$tmp/out" &&
        xmllint --noout --relaxng "$srcdir/data/schema/domain-metadata.rng" "$tmp/metadata.xml" >"$tmp/out" 2>&1
    verdict $? "$name: our metadata schema"
done

# libvirt's parser, in a driver of its own without any daemon. Emulated machines only: KVM may not be here.
if ! command -v virsh >/dev/null || ! command -v qemu-system-x86_64 >/dev/null; then
    skip "libvirt takes the domains" "virsh or qemu-system-x86_64 is not installed"
else
    for file in "${files[@]}"; do
        name=$(basename "$file" .xml)
        [ "$name" != kvm ] || continue
        timeout 120 virsh -q -c "qemu:///embed?root=$tmp/libvirt" define --validate "$file" >"$tmp/out" 2>&1
        verdict $? "$name: libvirt takes it"
    done
fi
echo "1..$count"
[ "$failed" = 0 ]
