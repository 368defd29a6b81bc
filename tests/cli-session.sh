#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Commands at a terminal and in pipelines: see cli-session.py.
command -v python3 >/dev/null || { echo "1..0 # SKIP python3 is not installed"; exit 0; }
exec python3 "$(dirname "$0")/cli-session.py"
