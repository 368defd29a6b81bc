/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The differences between msb-vhost-fs and virtiofsd that are expected.  Each
 * names a row of docs/virtiofsd.md, which says why.
 */
#include <config.h>

#include "differ.h"

const struct df_expected df_expected[] = {
    {DF_ALL, "names/* ''", "EINVAL", "ENOENT", "checked-names"},
    {DF_ALL, "names/look up '.'", "EINVAL", "0", "checked-names"},
    {DF_ALL, "names/look up '..'", "EPERM", "0", "checked-names"},
    {DF_ALL, "names/* '..'", "EPERM", "EINVAL", "checked-names"},
    {DF_ALL, "names/* '*/*'", "EPERM", "EINVAL", "checked-names"},
    {DF_ALL, "rename/*'..'", "EPERM", "EINVAL", "checked-names"},
    {DF_ALL, "names/a node that was never given out", "ESTALE", "ENOENT", "stale-nodes"},
    {DF_ALL, "*/a node that never was", "ESTALE", "EBADF", "stale-nodes"},
    {DF_ALL, "mknod/* directory", "EINVAL", "*", "mknod-types"},
    {DF_ALL, "mknod/open socket", "ENXIO", "EBADF", "open-types"},
    {DF_ALL, "symlinks/open", "ELOOP", "EBADF", "open-types"},
    {DF_ALL, "symlinks/truncate", "EINVAL", "EBADF", "open-types"},
    {DF_ALL, "by-lot/truncate", "EINVAL", "EBADF", "open-types"},
    {DF_ALL, "open/a directory", "EISDIR", "0", "open-types"},
    {DF_ALL, "open/access mode 3", "EINVAL", "0", "open-types"},
    {DF_ALL, "directories/names in what is gone", "ENOENT", "0", "removed-directory"},
    {DF_ALL, "symlinks/readlink of a*", "EINVAL", "ENOENT", "readlink-others"},
    {DF_ALL, "by-lot/readlink", "-22 ''", "-2 ''", "readlink-others"},
    {DF_ALL, "rename/missing", "ENOENT", "EIO", "missing-names"},
    {DF_ALL, "create/with TRUNC", "* size 0 *", "* size 4 *", "create-truncate"},
    {DF_ALL, "create/release again", "EBADF", "0", "released-handle"},
    {DF_ALL, "attributes/a handle that is none", "mode *", "EBADF", "setattr-handle"},
    {DF_ALL, "ranges/SEEK_SET", "EINVAL", "10", "lseek-whence"},
    {DF_ALL, "locks/ends before it begins", "EINVAL", "EAGAIN", "lock-range"},
    {DF_ALL, "whole/tmpfile", "mode 100600 *", "ENOSYS", "tmpfile"},
    {DF_ALL, "whole/linked in", "mode 100600 *", "ENOSYS", "tmpfile"},
    {DF_ALL, "attributes/both and a mode", "mode 104711 *", "mode 100711 *", "chown-with-mode"},
    {DF_ALL, "attributes/truncate", "mode 104711 *", "mode 100711 *", "chown-with-mode"},
    {DF_ALL, "owners/set-group-ID file of it", "mode 102755 *", "mode 100755 *", "set-group-id"},
    {DF_ALL, "owners/after fallocate", "mode 100755 *", "mode 104755 *", "fallocate-set-id"},
    {DF_ALL, "access/*", "*", "ENOSYS", "access"},
    {DF_ALL, "xattrs/empty name", "EINVAL", "ERANGE", "xattr-names"},
    {DF_ALL, "xattrs/ACL", "EOPNOTSUPP", "0", "acl"},
    {DF_ALL, "xattrs/get ACL", "EOPNOTSUPP", "ENODATA", "acl"},
    {DF_ALL, "xattrs/our own", "EACCES", "0", "identity-attribute"},
    {DF_ALL, "xattrs/read it", "EACCES", "1", "identity-attribute"},
    {DF_ALL, "xattrs/remove it", "EACCES", "0", "identity-attribute"},
    {DF_STRICT, "symlinks/setxattr", "0", "EPERM", "virtual-types"},
    {DF_STRICT | DF_RELAXED, "xattrs/of a FIFO", "0", "EPERM", "virtual-types"},
    {DF_STRICT | DF_RELAXED, "rename/WHITEOUT", "EINVAL", "0", "whiteout"},
    {DF_STRICT | DF_RELAXED, "rename/what it leaves", "mode 100600 *", "mode 20000 *", "whiteout"},
    {DF_RELAXED, "symlinks/chown", "EPERM", "0", "link-owners"},
    {DF_RELAXED, "symlinks/link of it", "* owner 0:0 *", "* owner 5:6 *", "link-owners"},
    {DF_RELAXED, "owners/*link*", "* owner 0:0 *", "* owner 1000:*", "link-owners"},
    {DF_RELAXED, "by-lot/chown", "EPERM", "0", "link-owners"},
    {DF_RELAXED, "by-lot/*", "mode 120777 owner 0:0 *", "mode 120777 owner *", "link-owners"},
    {0, NULL, NULL, NULL, NULL},
};
