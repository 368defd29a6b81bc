#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drives `msb exec` on a pseudo-terminal: raw mode, size, resize, detach, attach."""
import os
import signal
import sys

from ptysession import Session, done, ok

name = sys.argv[1]
s = Session(["msb", "exec", name, "--", "sh"])
ok(s.expect(rb"[#$] "), "a shell prompt on a terminal", s.seen)
s.send(b"stty size; tty\r")
ok(s.expect(rb"30 100\r\n/dev/pts/\d"), "the terminal has our size", s.seen)
s.resize(50, 132)
os.kill(s.pid, signal.SIGWINCH)
s.send(b"while [ \"$(stty size)\" != '50 132' ]; do :; done; stty size\r")
ok(s.expect(rb"\n50 132\r\n"), "a resize reaches the guest", s.seen)
# Type only once the command speaks.  The shell's line editor has echo off, and what
# arrives before it restores the terminal is read by cat but never echoed.
s.expect(rb"[#$] ")
s.send(b"echo reading; cat\r")
s.expect(rb"\nreading\r\n")
s.send(b"typed\r")
ok(s.expect(rb"typed\r\ntyped\r\n"), "what is typed reaches the command", s.seen)
s.send(b"\x03")
s.expect(rb"[#$] ")
s.send(b"echo back=$?\r")
ok(s.expect(rb"back=130"), "Ctrl-C interrupts it in the guest", s.seen)
s.send(b"exit 7\r")
ok(s.wait() == 7, "the exit code of the shell is passed on")

s = Session(["msb", "exec", name, "--", "sh"])
s.expect(rb"[#$] ")
s.send(b"marker=still-here\r")
s.expect(rb"[#$] ")
s.send(b"\x1d")
ok(s.expect(rb"msb attach \S+ (\d+)"), "detaching says how to attach again", s.seen)
ok(s.wait() == 0, "and ends msb with 0")
s2 = Session(["sh", "-c", "msb exec -q %s -- ps" % name])
ok(s2.expect(rb"\bsh\b"), "the shell goes on")
s2.wait()
s = Session(["msb", "attach", name])
s.becomes_raw()
s.send(b"\recho $marker\r")
ok(s.expect(rb"\r\nstill-here"), "attach finds it where it was", s.seen)
s.send(b"exit\r")
ok(s.wait() == 0, "and it ends")
done()
