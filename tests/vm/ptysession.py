#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program on a pseudo-terminal, for tests: type, expect, wait; and TAP."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

DEADLINE = 120
count = failed = 0


def ok(good, name, note=""):
    """One assertion."""
    global count, failed
    count += 1
    failed += not good
    print("%sok %d - %s" % ("" if good else "not ", count, name))
    if not good and note:
        print("# " + repr(note)[:2000])
    sys.stdout.flush()


def done():
    """The plan; exits."""
    print("1..%d" % count)
    sys.exit(1 if failed else 0)


class Session:
    def __init__(self, argv, rows=30, cols=100):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        self.seen = b""
        self.open = True
        self.resize(rows, cols)

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def expect(self, pattern):
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, self.seen):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return False
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                self.open = False
                return bool(re.search(pattern, self.seen))
            self.seen += data
        self.seen = self.seen[re.search(pattern, self.seen).end():]
        return True

    def becomes_raw(self):
        """Waits until the program reads the terminal raw: making it so may throw away what was typed before."""
        end = time.monotonic() + DEADLINE
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            if time.monotonic() > end:
                return False
            select.select([], [], [], 0.02)
        return True

    def send(self, text):
        os.write(self.fd, text)

    def wait(self):
        """The program's exit code; one that does not end is killed."""
        self.expect(rb"(?!)")
        if self.open:
            os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
