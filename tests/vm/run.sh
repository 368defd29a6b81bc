#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# msb run: output, exit status, stdin, environment, users, ephemeral or not.
. "$(dirname "$0")/lib.bash"

run msb run -q busybox -- echo hello from inside
is "$out" "hello from inside" "run prints what the command wrote, and nothing else with -q"
is "$rc" 0 "and exits 0"
is "$(msb ls -q)" "" "an unnamed sandbox is gone afterwards"

out=$(msb run -q busybox -- sh -c 'echo out; echo err >&2' 2>/dev/null)
is "$out" out "stdout and stderr are apart"
run msb run -q busybox -- sh -c 'exit 42'
is "$rc" 42 "the exit code is passed on"
run msb run -q busybox -- sh -c 'kill -TERM $$'
is "$rc" 143 "death by a signal is 128 + its number"
fails_with 127 'nosuchcommand' "a missing command is 127 and named" msb run -q busybox -- nosuchcommand
fails_with 126 '/etc/passwd' "one that is not executable is 126" msb run -q busybox -- /etc/passwd

out=$(seq 1 100000 | msb run -q busybox -- sh -c 'wc -l; cat /proc/uptime >/dev/null')
is "$(echo $out)" 100000 "stdin is forwarded, and its end"
out=$(head -c 3000000 /dev/urandom | tee "$tmp/random" | msb run -q busybox -- cat | sha256sum)
is "$out" "$(sha256sum <"$tmp/random")" "three million random bytes go in and come out"

out=$(msb run -q -e A=1 -e B='two words' -w /tmp -H box -u guest busybox -- sh -c 'echo $A,$B,$PWD,$(hostname),$(id -un),$(id -Gn),$HOME')
is "$out" "1,two words,/tmp,box,guest,guest wheel,/home/guest" "environment, directory, host name, user, groups"
fails_with 1 'nosuchuser' "an unknown user is an error that names it" msb run -q -u nosuchuser busybox -- true
fails_with 1 '/no/such/dir' "a missing working directory is an error that names it" msb run -q -w /no/such/dir busybox -- true

out=$(msb run -q -c 2 -m 700 busybox -- sh -c 'nproc; grep MemTotal /proc/meminfo')
like "$out" $'^2\n' "two CPUs"
kib=$(echo "$out" | awk '/MemTotal/ {print $2}')
[ "${kib:-0}" -gt 600000 ] && [ "${kib:-0}" -lt 720000 ]
is $? 0 "700 MiB (MemTotal $kib kB)"

out=$(msb run -q busybox -- sh -c 'mount; cat /proc/1/comm; ls -d /proc/self/fd /dev/pts/ptmx /dev/shm /dev/null /sys/fs/cgroup/cgroup.procs; cat /etc/hosts; ip addr show lo')
like "$out" 'overlay on / type overlay' "the root is an overlay"
like "$out" '/sys/fs/cgroup/cgroup.procs' "cgroup2 is mounted"
like "$out" '127.0.0.1.*localhost' "/etc/hosts knows localhost"
like "$out" 'inet 127.0.0.1/8' "the loopback interface is up"

runs "a detached sandbox" msb run -q -d -n "keep$id" busybox -- sh -c 'echo started; exec tail -f /dev/null'
like "$(msb ls)" "keep$id.*running" "ls shows it running"
if [ -n "${MSB_TEST_WANT_ACCEL:-}" ]; then
    like "$(vsh dumpxml "msb-keep$id")" "domain type='$MSB_TEST_WANT_ACCEL'" "the domain runs under $MSB_TEST_WANT_ACCEL"
fi
runs "exec in it" msb exec "keep$id" -- sh -c 'echo written >/root/file; echo done'
is "$out" "done" "exec prints the output"
runs "stop" msb stop -q "keep$id"
like "$(msb ls)" "keep$id.*stopped" "ls shows it stopped"
runs "start" msb start -q "keep$id"
run msb exec -q "keep$id" -- cat /root/file
is "$out" written "stop and start keep the root"
runs "restart" msb restart -q "keep$id"
run msb exec -q "keep$id" -- cat /root/file
is "$out" written "restart keeps the root"
fails_with 1 "keep$id" "rm of a running sandbox is refused" msb rm "keep$id"
runs "rm -f" msb rm -q -f "keep$id"
is "$(msb ls -q)" "" "it is gone"
done_testing
