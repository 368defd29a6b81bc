/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mb-log.h"
#include "mb-overflow.h"
#include "mb-parse.h"

#include "bk-resize.h"

#define REQUEST_MAX 32u

static const char *
path_of(const struct bk_dev *dev)
{
    return dev->image->files[0]->path;
}

static int
cannot_grow(const struct bk_dev *dev, struct bk_err *err)
{
    const char *format = dev->image->ops->format;

    if (dev->image->read_only)
        return bk_fail(err, -EROFS, "\"%s\" is only read", path_of(dev));
    return bk_fail(err, -ENOTSUP, "\"%s\": an image of format %s cannot grow: make it qcow2 with qemu-img convert",
                   path_of(dev), format);
}

int
bk_resize(struct bk_dev *dev, const char *size, struct bk_err *err)
{
    uint64_t old = atomic_load(&dev->size), bytes;
    int rc;

    if (mb_parse_u64(size + (*size == '+'), &bytes) < 0 || (*size == '+' && MB_ADD_OVERFLOW(bytes, old, &bytes)) ||
        !mb_round_up(bytes, BK_SECTOR, &bytes) || bytes > INT64_MAX)
        return bk_fail(err, -EINVAL, "'%s' is no size for \"%s\"", size, path_of(dev));
    if (bytes < old)
        return bk_fail(err, -EINVAL, "\"%s\" has %llu bytes and cannot become smaller", path_of(dev),
                       (unsigned long long)old);
    if (dev->image->read_only || !dev->image->ops->grow)
        return cannot_grow(dev, err);
    rc = bytes > old ? dev->image->ops->grow(dev->image, bytes, err) : 0;
    if (rc == 0)
        atomic_store(&dev->size, bytes);
    return rc;
}

/* ---- SIGHUP ---------------------------------------------------------------------------- */

/* Carry out one request, if there is one. */
static bool
answer(struct bk_dev *dev)
{
    char request[REQUEST_MAX], reply[1 + sizeof(((struct bk_err *)0)->text)] = "+";
    ssize_t n = read(dev->set.resize_fd, request, sizeof(request) - 1);
    struct bk_err err;

    if (n <= 0)
        return false;
    request[n] = '\0';
    if (bk_resize(dev, request, &err) < 0) {
        reply[0] = '-';
        memcpy(reply + 1, err.text, sizeof(err.text));
        mb_warn("%s", err.text);
    }
    n = write(dev->set.resize_fd, reply, strlen(reply));
    if (n < 0)
        mb_warn("\"%s\": whoever wanted it larger cannot be answered: %s", path_of(dev), strerror(errno));
    return true;
}

/* A smaller disk is not taken: the guest may have data there. */
static void
look_again(struct bk_dev *dev)
{
    uint64_t old = atomic_load(&dev->size), size = old;
    int rc = dev->image->ops->measure(dev->image, &size);

    if (rc < 0)
        mb_warn("\"%s\": cannot get the size: %s", path_of(dev), strerror(-rc));
    else if (size < old)
        mb_warn("\"%s\" became smaller, %llu instead of %llu bytes; the disk stays as it is", path_of(dev),
                (unsigned long long)size, (unsigned long long)old);
    if (rc == 0 && size > old)
        atomic_store(&dev->size, size);
}

bool
bk_resize_reload(struct bk_dev *dev)
{
    uint64_t old = atomic_load(&dev->size);
    bool asked = false;

    while (dev->set.resize_fd >= 0 && answer(dev))
        asked = true;
    if (dev->image->ops->measure)
        look_again(dev);
    else if (!asked)
        mb_warn("\"%s\": what others do to an image of format %s is not seen while it is served", path_of(dev),
                dev->image->ops->format);
    if (atomic_load(&dev->size) == old)
        return false;
    mb_info("\"%s\" has %llu bytes now", path_of(dev), (unsigned long long)atomic_load(&dev->size));
    return true;
}
