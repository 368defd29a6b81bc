#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# small-disk.bash SIZE DIR COMMAND...: run COMMAND with a state directory on a
# filesystem of SIZE of its own, mounted on DIR in namespaces that an ordinary
# user may make.  Kernel bundles and images are those of $MSB_HOME.  libvirt gets
# a session daemon of its own, which is ended with the command.
set -u
if [ "${inside:-}" = "" ]; then
    inside=$(id -u):$(id -g) exec unshare --mount --user --map-root-user bash "$0" "$@"
fi
size=$1 dir=$2
shift 2
mount -t tmpfs -o "size=$size,mode=700" none "$dir" || exit 125
ln -s "$MSB_HOME/kernel" "$MSB_HOME/images" "$dir/"
mkdir -m 700 "$dir/runtime"
export MSB_HOME=$dir XDG_RUNTIME_DIR=$dir/runtime
# The caller's own number again: root's libvirt is another one.
unshare --user --map-user="${inside%:*}" --map-group="${inside#*:}" "$@"
rc=$?
for f in "$XDG_RUNTIME_DIR"/libvirt/*.pid; do
    [ ! -s "$f" ] || kill "$(cat "$f")"
done
exit "$rc"
