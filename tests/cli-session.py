#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands at a terminal and in pipelines: exec, shell, attach and logs against a sandbox without a machine
(tests/unit/cli/mock-sandbox: the real relay and the real agent, whose "guest" is this host)."""

import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import traceback

BUILD = os.environ.get("abs_top_builddir", "build")
SOURCE = os.environ.get("abs_top_srcdir", ".")
MSB = os.environ.get("MSB_PROGRAM", BUILD + "/src/msb/msb")
MOCK = os.environ.get("MOCK_PROGRAM", BUILD + "/tests/unit/cli/mock-sandbox")
DEADLINE = 180
NAME = "mock"

# Whoever runs the tests in the background of a script has SIGINT ignored, which all programs inherit, and what a
# shell finds ignored it cannot trap.
signal.signal(signal.SIGINT, signal.default_int_handler)

work = tempfile.mkdtemp(prefix="msb-session-")
ENV = dict(os.environ, MSB_HOME=work + "/home", MSB_BUILDDIR=BUILD, MSB_SRCDIR=SOURCE, LC_ALL="C.UTF-8",
           TERM="vt220")
for name in ("LANGUAGE", "NO_COLOR", "G_MESSAGES_DEBUG"):
    ENV.pop(name, None)
count = failures = 0


def ok(good, what, *details):
    global count, failures
    count += 1
    print("%s %d - %s" % ("ok" if good else "not ok", count, what))
    if not good:
        failures += 1
        for detail in details:
            print("# " + repr(detail))
    sys.stdout.flush()


def eq(got, want, what):
    ok(got == want, what, "got", got, "want", want)


def run(*args, stdin=b"", **more):
    return subprocess.run([MSB] + list(args), input=stdin, capture_output=True, env=ENV, timeout=DEADLINE, **more)


def popen(*args):
    return subprocess.Popen([MSB] + list(args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=ENV)


def read_line(stream):
    """A line as soon as it is there."""
    ready, _, _ = select.select([stream], [], [], DEADLINE)
    return stream.readline() if ready else b"(timeout)"


class Terminal:
    """msb on a terminal of its own."""

    def __init__(self, *args, rows=37, columns=91, env=None, below=False):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.text = b""
        # below: a parent that hears of the hang-up and keeps it to itself
        parent = ["sh", "-c", 'trap "" HUP; env --default-signal=HUP "$@"', "sh"] if below else []
        self.process = subprocess.Popen(parent + [MSB] + list(args), stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        env=env or ENV, start_new_session=True, preexec_fn=self.make_controlling)

    def make_controlling(self):
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, pattern):
        """Read until pattern is there; TRUE if it came in time. What was before it is forgotten."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            match = re.search(pattern, self.text)
            if match:
                self.text = self.text[match.end():]
                return True
            ready, _, _ = select.select([self.master], [], [], end - time.monotonic())
            if ready:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    return False
                self.text += data
        return False

    def send(self, data):
        os.write(self.master, data)

    def wait(self):
        return self.process.wait(DEADLINE)

    def insist(self, signum):
        """Send the signal again and again until the process ends (those that are pending already count once)."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            self.process.send_signal(signum)
            try:
                return self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        return None

    def is_cooked(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def test_pipes():
    r = run("exec", NAME, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    eq((r.returncode, r.stdout, r.stderr), (7, b"out\n", b"err\n"), "status and streams are the command's")
    r = run("exec", NAME, "sh", "-c", "kill -TERM $$")
    eq(r.returncode, 143, "a signal is 128 + N")
    r = run("exec", NAME, "/no/such/program")
    eq(r.returncode, 127, "not found is 127")
    ok(b"/no/such/program" in r.stderr, "not found is named", r.stderr)
    r = run("exec", NAME, "/etc/passwd")
    eq(r.returncode, 126, "not executable is 126")
    r = run("exec", NAME, "-w", "/no/such/place", "true")
    eq(r.returncode, 1, "a bad working directory is an error of msb")
    r = run("exec", NAME, "-e", "A=b c", "-e", "TERM", "-w", "/usr", "sh", "-c", 'echo "$A $TERM $PWD"')
    eq(r.stdout, b"b c vt220 /usr\n", "environment and working directory")
    r = run("exec", NAME, "sh", "-c", "test -t 0; echo $?")
    eq(r.stdout, b"1\n", "no terminal in a pipeline")
    big = os.urandom(1 << 20) * 12
    r = run("exec", NAME, "cat", stdin=big)
    eq(hashlib.sha256(r.stdout).digest(), hashlib.sha256(big).digest(), "12 MiB there and back")
    r = run("exec", "--no-stdin", NAME, "cat", stdin=b"unseen")
    eq(r.stdout, b"", "--no-stdin")
    r = run("exec", "--timeout=200ms", NAME, "sh", "-c", "while :; do :; done")
    eq(r.returncode, 137, "--timeout kills")
    ok(b"--timeout" in r.stderr, "--timeout says so", r.stderr)


def test_streaming():
    p = popen("exec", NAME, "sh", "-c", 'echo first; read x; echo "got $x"; cat')
    eq(read_line(p.stdout), b"first\n", "output comes before the input")
    p.stdin.write(b"one\n")
    p.stdin.flush()
    eq(read_line(p.stdout), b"got one\n", "input arrives while the command runs")
    p.stdin.close()
    eq(p.wait(DEADLINE), 0, "the end of the input arrives")
    p = popen("exec", NAME, "yes")
    read_line(p.stdout)
    p.stdout.close()
    eq(p.wait(DEADLINE), 141, "a closed pipe ends the command as SIGPIPE does")


def test_signals():
    p = popen("exec", NAME, "sh", "-c", 'trap "exit 9" INT; echo up; while :; do sleep 0.05; done')
    read_line(p.stdout)
    p.send_signal(signal.SIGINT)
    eq(p.wait(DEADLINE), 9, "SIGINT is passed on")
    p = popen("exec", NAME, "sh", "-c", 'trap "echo deaf" TERM; echo up; while :; do sleep 0.05; done')
    read_line(p.stdout)
    p.send_signal(signal.SIGTERM)
    eq(read_line(p.stdout), b"deaf\n", "SIGTERM is passed on")
    p.send_signal(signal.SIGTERM)
    eq(p.wait(DEADLINE), 137, "the second one kills")


def test_terminal():
    t = Terminal("exec", "-e", "PS1=", NAME, "--", "sh", "-c",
                 'stty size; echo "$TERM"; test -t 1 && echo tty; trap "stty size" WINCH; '
                 'echo ready; while :; do read x || :; [ "$x" = end ] && exit 3; done')
    ok(t.expect(rb"37 91\r\n"), "the size of the terminal", t.text)
    ok(t.expect(rb"vt220\r\n"), "its type", t.text)
    ok(t.expect(rb"tty\r\nready\r\n"), "it is one", t.text)
    ok(not t.is_cooked(), "it is raw meanwhile")
    t.resize(50, 120)
    t.process.send_signal(signal.SIGWINCH)
    ok(t.expect(rb"50 120\r\n"), "a new size arrives", t.text)
    t.send(b"end\r")
    eq(t.wait(), 3, "the status of a command at a terminal")
    ok(t.is_cooked(), "the terminal is as it was")
    t.close()
    t = Terminal("exec", "--no-tty", NAME, "sh", "-c", "test -t 0; echo $?")
    ok(t.expect(rb"1\r\n"), "--no-tty", t.text)
    t.wait()
    t.close()
    t = Terminal("exec", NAME, "sh", "-c", "echo up; exec cat")
    t.expect(rb"up")
    t.send(b"\x03")
    eq(t.wait(), 130, "Ctrl-C is the guest's terminal's business")
    t.close()
    t = Terminal("exec", NAME, "sh", "-c", 'trap "" TERM; echo up; cat')
    t.expect(rb"up")
    t.insist(signal.SIGTERM)
    ok(t.wait() in (137, 143), "signals from outside end it", t.process.returncode)
    ok(t.is_cooked(), "the terminal is as it was after a signal")
    t.close()
    t = Terminal("shell", NAME, env=dict(ENV, PS1="prompt> "))
    t.send(b"echo $((6*7)); exit 5\r")
    ok(t.expect(rb"42\r\n"), "shell", t.text)
    eq(t.wait(), 5, "the status of a shell")
    t.close()


def test_hangup():
    for how in ("that leads the session", "below another that does"):
        t = Terminal("exec", NAME, "sh", "-c", "echo 'prompt>'; while :; do read x || sleep 0.05; done",
                     below=how.startswith("below"))
        t.expect(rb"prompt>")
        os.close(t.slave)
        os.close(t.master)
        try:
            t.process.wait(DEADLINE)
            ok(True, "a closed terminal ends a command " + how)
        except subprocess.TimeoutExpired:
            ok(False, "a closed terminal ends a command " + how)
            t.process.kill()
        end = time.monotonic() + DEADLINE
        while b"prompt" in run("ps", NAME).stdout and time.monotonic() < end:
            pass
        ok(b"prompt" not in run("ps", NAME).stdout, "and it is gone from the sandbox")


def test_detach():
    t = Terminal("exec", NAME, "sh", "-c", "echo before; read x; echo after $x; exit 4")
    t.expect(rb"before")
    t.send(b"\x1d")
    ok(t.expect(rb"detached; command (\d+) goes on"), "detaching says so", t.text)
    ok(t.expect(rb"msb attach mock (\d+)"), "and how to attach again", t.text)
    eq(t.wait(), 0, "detaching is no failure")
    ok(t.is_cooked(), "the terminal is as it was after detaching")
    t.close()
    r = run("ps", NAME)
    ok(re.search(rb"sh -c 'echo before", r.stdout), "ps shows what runs", r.stdout)
    t = Terminal("attach", NAME)
    ok(t.expect(rb"before"), "attaching shows what was written", t.text)
    t.send(b"attaching\r")
    ok(t.expect(rb"after attaching"), "and goes on", t.text)
    eq(t.wait(), 4, "the status of an attached command")
    t.close()
    t = Terminal("exec", "--detach-keys=ctrl-p,x", NAME, "sh", "-c", "echo up; cat -v")
    t.expect(rb"up")
    t.send(b"\x1d\x10y\r")
    ok(t.expect(rb"\^\]\^Py"), "other keys are passed on", t.text)
    t.send(b"\x10x")
    ok(t.expect(rb"detached"), "--detach-keys", t.text)
    t.wait()
    t.close()
    r = run("exec", "-d", NAME, "sh", "-c", "echo quietly; sleep 1000")
    eq(r.returncode, 0, "exec -d returns")
    number = r.stdout.strip().decode()
    ok(number.isdigit(), "exec -d prints a number", r.stdout)
    r = run("attach", NAME)
    ok(r.returncode == 1 and b"give the number" in r.stderr, "attach wants a number when there are two", r.stderr)
    r = run("attach", NAME, "99999")
    eq(r.returncode, 1, "attach to what does not run")
    p = popen("attach", NAME, number)
    eq(read_line(p.stdout), b"quietly\n", "attach to a command without a terminal")
    p.send_signal(signal.SIGINT)
    eq(p.wait(DEADLINE), 130, "and signals reach it")


def test_listing():
    r = run("ls")
    ok(re.search(rb"mock +/ +running", r.stdout), "ls shows it", r.stdout)
    eq(run("ls", "-q", "--running").stdout, b"mock\n", "ls -q --running")
    eq(run("ls", "-q", "--stopped").stdout, b"", "ls -q --stopped")
    r = run("inspect", NAME)
    ok(b'"status" : "running"' in r.stdout, "inspect", r.stdout)
    t = Terminal("ls", columns=200)
    ok(t.expect(rb"\x1b\[1mNAME"), "headings are bold on a terminal", t.text)
    t.close()
    t = Terminal("ls", env=dict(ENV, NO_COLOR="1"))
    ok(t.expect(rb"NAME") and b"\x1b" not in t.text, "NO_COLOR", t.text)
    t.close()
    t = Terminal("exec", "nobody", "true")
    ok(t.expect(rb"\x1b\[1;31merror:\x1b\[0m "), "errors are coloured on a terminal", t.text)
    t.close()
    t = Terminal("ls", columns=30, env=dict(ENV, NO_COLOR="1"))
    ok(t.expect(rb"NAME[^\n]*CRE[^\n]*\n"), "tables are cut to the terminal", t.text)
    ok(t.expect(rb"mock +/ +ru[^\n]*\n"), "and so are their rows", t.text)
    t.close()


def main():
    os.makedirs(work + "/home", 0o700, exist_ok=True)
    mock = subprocess.Popen([MOCK, NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV)
    try:
        if read_line(mock.stdout) != b"ready\n":
            print("Bail out! the mock sandbox does not start")
            return 1
        test_pipes()
        test_streaming()
        test_signals()
        test_terminal()
        test_hangup()
        test_detach()
        test_listing()
        r = run("exec", NAME, "kill", "-9", str(os.getpid()) + "99999999")
        ok(r.returncode != 0, "still alive after all that")
    except subprocess.TimeoutExpired as e:
        ok(False, "all of it within its time", traceback.format_exc(), e.cmd)
    finally:
        mock.stdin.close()
        mock.wait(DEADLINE)
        shutil.rmtree(work, ignore_errors=True)
    print("1..%d" % count)
    return 1 if failures else 0


sys.exit(main())
