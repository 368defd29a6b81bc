#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Commands that work on the state directory, and their errors, without any machine.
. "$(dirname "$0")/lib/cli.bash"

is_json() {
    python3 -c 'import json, sys; json.load(sys.stdin)' <<<"$2" 2>/dev/null
    verdict $? "$1" "got: $2"
}

msb ls
is "ls of nothing succeeds" "$status" 0
is "ls of nothing has the headings" "$out" "NAME   IMAGE   STATUS   CREATED"
msb ls --format json
is "ls --format json of nothing is an empty array" "$(tr -d ' \n' <<<"$out")" "[]"
msb list -q
is "ls -q of nothing says nothing" "$out" ""
is "the state directory is private" "$(stat -c %a "$MSB_HOME")" 700
msb ps -a
like "ps has its headings" "$out" "^NAME +IMAGE +COMMAND +CPUS +MEMORY +STATUS$"
msb images
like "images has its headings" "$out" "^REFERENCE +DIGEST +SIZE +CREATED$"
msb image ls --format json
is_json "image ls --format json is JSON" "$out"
msb kernel ls
like "kernel ls has its headings" "$out" "^VERSION +DEFAULT +SIZE +CREATED$"
msb kernel ls --format json
is_json "kernel ls --format json is JSON" "$out"

msb kernel default
is "no default kernel is an error" "$status" 1
like "no default kernel says what to do" "$err" "error: .*msb kernel import"
msb kernel default 1.2.3
like "an unknown kernel is named" "$err" "'1\.2\.3'"
msb kernel rm ../images
is "a kernel's name is no path" "$status" 1
[ -d "$MSB_HOME/images" ]
verdict $? "and nothing was removed"
msb kernel import
is "kernel import wants something" "$status" 2
msb kernel import --vmlinuz=x
is "kernel import --vmlinuz wants --modules" "$status" 2
echo "no kernel" >"$work/file.deb"
msb kernel import "$work/file.deb"
is "what is no package is refused" "$status" 1
like "what is no package is named" "$err" "file\.deb"
msb kernel import /nonexistent.deb
like "a missing package is named with the cause" "$err" "/nonexistent\.deb.*No such file"
is "nothing is left of failed imports" "$(find "$MSB_HOME/kernel" -mindepth 1 ! -name .lock)" ""

for command in start stop restart rm; do
    msb "$command"
    is "$command wants a name" "$status" 1
    msb "$command" nobody nothing
    is "$command of what is not there fails" "$status" 1
    like "$command goes on to the second" "$err" "nobody.*
.*nothing"
done
msb modify nobody
is "modify wants to know what" "$status" 2
like "and tells what there is" "$err" "--root-disk"
msb modify --root-disk +much nobody
is "a size is a size" "$status" 2
msb modify --root-disk 8G nobody
is "modify of what is not there fails" "$status" 1
like "and names it" "$err" "nobody"

for command in inspect "ps" "logs" shell attach; do
    msb $command nobody
    is "$command of what is not there fails" "$status" 1
    like "$command names what is not there" "$err" "nobody"
done
msb exec nobody true
is "exec in what is not there fails" "$status" 1

msb run --pull=never nosuchimage true
is "an unknown image is an error" "$status" 1
like "an unknown image is named" "$err" nosuchimage
msb run
is "run wants an image" "$status" 1
msb run -n box
like "run wants an image for a new name" "$err" "no sandbox 'box'"
msb run -n 'no/good' nosuchimage
is "a bad name is refused" "$status" 1
msb run --replace nosuchimage
like "--replace wants a name" "$err" "--name"
msb run --pull=never nosuchimage
like "--pull=never asks no registry" "$err" "nosuchimage.* is not in the store"
msb run --pull=always 127.0.0.1:1/nosuch
like "--pull=always asks the registry" "$err" "127.0.0.1:1/"
msb pull 'no//good'
like "pull wants a reference" "$err" "no//good"
msb registry login 127.0.0.1:1
is "registry login wants a name" "$status" 2
msb registry logout nowhere.example
like "registry logout of what is not there" "$err" "nowhere.example"
msb run --pull=never -m 1G -c 2 -e A=b -e A nosuchimage
is "nothing is left of failed runs" "$(find "$MSB_HOME/sandboxes" -mindepth 1 -name '[!.]*' -not -path '*/.locks/*')" ""
msb load /nonexistent.tar
is "a missing archive is an error" "$status" 1
like "a missing archive is named" "$err" "/nonexistent\.tar"
head -c 100000 /dev/urandom >"$work/noise"
msb load "$work/noise"
is "what is no archive is refused" "$status" 1
msb rmi nosuchimage
is "rmi of what is not there fails" "$status" 1
msb import "$work"
is "import wants a name" "$status" 2

msb doctor --format json
is_json "doctor --format json is JSON" "$out"
like "doctor asks the back-ends what confines them" "$out" '"check" : "fs-confined"'
like "both of them" "$out" '"check" : "blk-confined"'
like "doctor says what is missing" "$out" '"check" : "kernel"'

# Where the state directory cannot be.
MSB_HOME=/proc/nowhere msb ls
is "an impossible state directory is an error" "$status" 1
like "an impossible state directory is named" "$err" "/proc/nowhere"
done_testing
