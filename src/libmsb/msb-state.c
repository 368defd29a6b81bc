/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State files: read whole and bounded, written to a temporary name beside the
 * target, fsynced, renamed over it, and the directory fsynced.  A reader sees
 * the old file or the new one, never a part of either, also after a crash.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-state.h"

#define STATE_MAX_BYTES (16u * 1024 * 1024)

static gboolean
read_bounded(const char *path, int fd, GString *out, GError **error)
{
    char buf[16384];
    ssize_t n;

    for (;;) {
        n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return msb_error_set_errno(error, errno, "cannot read '%s'", path);
        if (n == 0)
            return TRUE;
        if (out->len + (gsize)n > STATE_MAX_BYTES)
            return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' is larger than %u MiB", path,
                                 STATE_MAX_BYTES >> 20);
        g_string_append_len(out, buf, n);
    }
}

static gboolean
check_version(const char *path, JsonObject *object, gint64 max_version, GError **error)
{
    JsonNode *node = json_object_get_member(object, "version");
    gint64 version;

    if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' has no version number", path);
    version = json_node_get_int(node);
    if (version < 1)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' has version %" G_GINT64_FORMAT, path, version);
    if (version > max_version)
        return msb_error_set(error, MSB_ERROR_UNSUPPORTED,
                             "'%s' was written by a newer msb (format %" G_GINT64_FORMAT ", this one knows %"
                             G_GINT64_FORMAT ")", path, version, max_version);
    return TRUE;
}

JsonObject *
msb_state_load(const char *path, gint64 max_version, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *what = g_strdup_printf("'%s'", path);
    g_autoptr(JsonNode) root = NULL;
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        msb_error_set_errno(error, errno, "cannot open '%s'", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' is not a regular file", path);
        return NULL;
    }
    if (!read_bounded(path, fd, text, error))
        return NULL;
    root = msb_json_parse(what, text->str, text->len, error);
    if (!root)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(root)) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' does not hold a JSON object", path);
        return NULL;
    }
    if (!check_version(path, json_node_get_object(root), max_version, error))
        return NULL;
    return json_object_ref(json_node_get_object(root));
}

static int
write_all(int fd, const char *text, gsize len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        len -= (gsize)n;
    }
    return 0;
}

static int
sync_directory_of(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    mb_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    /* Some filesystems cannot sync a directory: then there is nothing to lose. */
    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL && errno != EROFS))
        return -errno;
    return 0;
}

gboolean
msb_state_save(const char *path, JsonObject *object, GError **error)
{
    g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);
    g_autofree char *text = msb_json_to_string(node, TRUE);
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *temp = g_strdup_printf("%s/.%s.XXXXXX", dir, base);
    mb_autofd int fd = mkostemp(temp, O_CLOEXEC);
    int r = 0;

    if (fd < 0)
        return msb_error_set_errno(error, errno, "cannot make a file beside '%s'", path);
    r = write_all(fd, text, strlen(text));
    if (r == 0)
        r = write_all(fd, "\n", 1);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(temp);
        return msb_error_set_errno(error, -r, "cannot write '%s'", path);
    }
    r = sync_directory_of(path);
    if (r < 0)
        return msb_error_set_errno(error, -r, "cannot sync the directory of '%s'", path);
    return TRUE;
}
