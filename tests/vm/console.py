#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""console.py URI DOMAIN: a shell on the console of a sandbox, through `virsh console`."""
import sys

from ptysession import Session, done, ok

uri, domain = sys.argv[1:]
s = Session(["virsh", "-c", uri, "console", "--force", domain])
ok(s.expect(rb"Connected to domain"), "virsh console connects", s.seen)
# virsh says that it is connected first, and drops what was typed when it makes the terminal raw.
s.becomes_raw()
s.send(b"\r")
ok(s.expect(rb"[#$] "), "Enter brings a shell", s.seen)
s.send(b"echo con$((40 + 2))sole\r")
ok(s.expect(rb"con42sole"), "which runs commands", s.seen)
s.send(b"exit\r")
# virsh sees its escape only at the start of what it reads: not behind other input.
s.expect(rb"exit\r\n")
s.send(b"\x1d")
ok(s.wait() == 0, "and Ctrl-] leaves it")
done()
