#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Interactive use, on a pseudo-terminal.
. "$(dirname "$0")/lib.bash"
runs "create" msb create -q -n "tty$id" busybox
include_tap python3 "$(dirname "$0")/terminal.py" "tty$id"
msb rm -q -f "tty$id"
done_testing
