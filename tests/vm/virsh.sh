#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A sandbox as a libvirt user sees it.
. "$(dirname "$0")/lib.bash"
n=virsh$id
runs "create" msb create -q -n "$n" busybox
like "$(vsh list --all)" "msb-$n +running" "virsh list shows it running"
xml=$(vsh dumpxml "msb-$n")
like "$xml" "machine='microvm'" "it is a microvm"
like "$xml" "busybox" "title or metadata name the image"
like "$xml" "metadata" "there is metadata"
like "$(vsh domstats "msb-$n")" 'state.state=1' "domstats answers"
like "$(vsh dominfo "msb-$n")" 'Persistent: +yes' "it is persistent"
include_tap python3 "$(dirname "$0")/console.py" "$(libvirt_uri)" "msb-$n"
runs "stop" msb stop -q "$n"
like "$(vsh list --all)" "msb-$n +shut off" "a stopped sandbox is listed"
vsh dumpxml "msb-$n" >"$tmp/domain.xml"
if command -v virt-xml-validate >/dev/null; then
    runs "its XML is valid" virt-xml-validate "$tmp/domain.xml" domain
else
    skip "its XML is valid" "no virt-xml-validate here"
fi
runs "rm" msb rm -q "$n"
is "$(vsh list --all --name | grep -c "$n")" 0 "rm undefines it"
done_testing
