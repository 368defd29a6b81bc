/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mount arguments of the command line, SOURCE:DEST[:OPTIONS] and, for
 * tmpfs, PATH[:SIZE][:OPTIONS]; and the root that is a disk image,
 * PATH[:OPTIONS].  SOURCE ends at the first colon that a slash
 * follows, so DEST is always absolute.  Which option goes with which flag is
 * one table; every message quotes the argument as it was given.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "msb-config-private.h"
#include "msb-error.h"

/* Beside the flags of the command line: the image that is the root. */
#define MSB_MOUNT_FLAG_ROOT (MSB_MOUNT_FLAG_TMPFS + 1)

/* Owner ids of a Linux guest; (uid_t) -1 means "leave it". */
#define ID_MAX (G_MAXUINT32 - 1)

enum {
    FOR_VOLUME = 1 << MSB_MOUNT_FLAG_VOLUME,
    FOR_DIR = 1 << MSB_MOUNT_FLAG_DIR,
    FOR_FILE = 1 << MSB_MOUNT_FLAG_FILE,
    FOR_NAMED = 1 << MSB_MOUNT_FLAG_NAMED,
    FOR_DISK = 1 << MSB_MOUNT_FLAG_DISK,
    FOR_TMPFS = 1 << MSB_MOUNT_FLAG_TMPFS,
    FOR_ROOT = 1 << MSB_MOUNT_FLAG_ROOT,
    FOR_DISKS = FOR_DISK | FOR_ROOT,
    FOR_SHARES = FOR_VOLUME | FOR_DIR | FOR_FILE | FOR_NAMED,
    FOR_ALL = FOR_SHARES | FOR_DISK | FOR_TMPFS,
};

typedef enum {
    OPT_RO, OPT_RW, OPT_NOEXEC, OPT_NOSUID, OPT_NODEV, OPT_STAT_VIRT, OPT_HOST_PERMS,
    OPT_QUOTA, OPT_INODES, OPT_CACHE, OPT_XATTR, OPT_UID, OPT_GID, OPT_KIND, OPT_SIZE, OPT_FORMAT, OPT_FSTYPE,
    OPT_PARTITION, OPT_SECRET_FILE, OPT_DETECT_ZEROES,
} Option;

typedef struct {
    const char *name;
    Option id;
    gboolean has_value;
    unsigned flags;         /* FOR_*: where it may be given */
    Option group;           /* given once per group: "ro" and "rw" are one */
} OptionInfo;

static const OptionInfo options[] = {
    { "ro", OPT_RO, FALSE, FOR_ALL | FOR_ROOT, OPT_RO },
    { "rw", OPT_RW, FALSE, FOR_ALL | FOR_ROOT, OPT_RO },
    { "noexec", OPT_NOEXEC, FALSE, FOR_ALL, OPT_NOEXEC },
    { "nosuid", OPT_NOSUID, FALSE, FOR_ALL, OPT_NOSUID },
    { "nodev", OPT_NODEV, FALSE, FOR_ALL, OPT_NODEV },
    { "stat-virt", OPT_STAT_VIRT, TRUE, FOR_SHARES, OPT_STAT_VIRT },
    { "host-perms", OPT_HOST_PERMS, TRUE, FOR_SHARES, OPT_HOST_PERMS },
    { "quota", OPT_QUOTA, TRUE, FOR_VOLUME | FOR_DIR | FOR_NAMED, OPT_QUOTA },
    { "inodes", OPT_INODES, TRUE, FOR_VOLUME | FOR_DIR | FOR_NAMED, OPT_INODES },
    { "cache", OPT_CACHE, TRUE, FOR_SHARES, OPT_CACHE },
    { "xattr", OPT_XATTR, TRUE, FOR_SHARES, OPT_XATTR },
    { "uid", OPT_UID, TRUE, FOR_SHARES, OPT_UID },
    { "gid", OPT_GID, TRUE, FOR_SHARES, OPT_GID },
    { "kind", OPT_KIND, TRUE, FOR_NAMED, OPT_KIND },
    { "size", OPT_SIZE, TRUE, FOR_NAMED | FOR_TMPFS, OPT_SIZE },
    { "format", OPT_FORMAT, TRUE, FOR_DISKS, OPT_FORMAT },
    { "fstype", OPT_FSTYPE, TRUE, FOR_DISKS, OPT_FSTYPE },
    { "partition", OPT_PARTITION, TRUE, FOR_DISKS, OPT_PARTITION },
    { "secret-file", OPT_SECRET_FILE, TRUE, FOR_DISKS, OPT_SECRET_FILE },
    { "detect-zeroes", OPT_DETECT_ZEROES, TRUE, FOR_DISKS, OPT_DETECT_ZEROES },
};

static const char *const stat_virts[] = { "strict", "relaxed", "off", NULL };
static const char *const host_perms[] = { "private", "mirror", NULL };
static const char *const caches[] = { "auto", "none", "always", NULL };
static const char *const xattrs[] = { "on", "off", NULL };
static const char *const detect_zeroes[] = { "off", "on", "unmap", NULL };
static const char *const kinds[] = { "dir", "directory", "disk", NULL };

static const char *const flag_names[] = {
    [MSB_MOUNT_FLAG_VOLUME] = "--volume",       [MSB_MOUNT_FLAG_DIR] = "--mount-dir",
    [MSB_MOUNT_FLAG_FILE] = "--mount-file",     [MSB_MOUNT_FLAG_NAMED] = "--mount-named",
    [MSB_MOUNT_FLAG_DISK] = "--mount-disk",     [MSB_MOUNT_FLAG_TMPFS] = "--tmpfs",
    [MSB_MOUNT_FLAG_ROOT] = "image",
};

/* What one argument is being turned into. */
typedef struct {
    MsbMountFlag flag;
    const char *spec;       /* as given */
    MsbMount *mount;
    unsigned given;         /* 1 << Option group */
} Parse;

static MsbMount *
mount_new(void)
{
    MsbMount *mount = g_new0(MsbMount, 1);

    mount->uid = mount->gid = -1;
    return mount;
}

void
msb_mount_free(MsbMount *mount)
{
    if (!mount)
        return;
    g_free(mount->source);
    g_free(mount->target);
    g_free(mount->format);
    g_free(mount->fstype);
    g_free(mount->secret_file);
    g_free(mount);
}

gboolean
msb_looks_like_path(const char *text)
{
    return text[0] == '/' || g_str_equal(text, ".") || g_str_equal(text, "..") || g_str_has_prefix(text, "./") ||
           g_str_has_prefix(text, "../");
}

static gboolean fail(const Parse *p, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

static gboolean
fail(const Parse *p, GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    return msb_error_set(error, MSB_ERROR_INVALID, "%s '%s': %s", flag_names[p->flag], p->spec, text);
}

/* ---- options ------------------------------------------------------------------- */

static const OptionInfo *
find_option(const char *name)
{
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(options); i++) {
        if (g_str_equal(options[i].name, name))
            return &options[i];
    }
    return NULL;
}

static gboolean
unknown_option(const Parse *p, const char *name, GError **error)
{
    static const char *const defaults[] = { "exec", "suid", "dev", NULL };
    g_autoptr(GString) known = g_string_new(NULL);
    gsize i;

    if (g_strv_contains(defaults, name))
        return fail(p, error, "'%s' is the default and cannot be given; 'no%s' takes it away", name, name);
    for (i = 0; i < G_N_ELEMENTS(options); i++) {
        if (options[i].flags & (1u << p->flag))
            g_string_append_printf(known, "%s%s%s", known->len ? ", " : "", options[i].name,
                                   options[i].has_value ? "=" : "");
    }
    return fail(p, error, "unknown option '%s'; known here: %s", name, known->str);
}

static gboolean
choose(const Parse *p, const char *name, const char *value, const char *const *words, int *chosen, GError **error)
{
    g_autofree char *all = NULL;
    int i;

    for (i = 0; words[i]; i++) {
        if (g_str_equal(words[i], value)) {
            *chosen = i;
            return TRUE;
        }
    }
    all = g_strjoinv(", ", (char **)words);
    return fail(p, error, "'%s=%s' is not one of %s", name, value, all);
}

static gboolean
set_size(const Parse *p, const char *name, const char *value, guint64 *bytes, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!msb_parse_size(value, bytes, &local))
        return fail(p, error, "%s: %s", name, local->message);
    if (*bytes == 0)
        return fail(p, error, "%s is zero", name);
    return TRUE;
}

static gboolean
set_id(const Parse *p, const char *name, const char *value, gint64 *id, GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, 0, ID_MAX, &number, NULL))
        return fail(p, error, "'%s=%s' is not a numeric id", name, value);
    *id = (gint64)number;
    return TRUE;
}

static gboolean
set_partition(const Parse *p, const char *value, guint *partition, GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, 1, MSB_MAX_PARTITION, &number, NULL))
        return fail(p, error, "'partition=%s' is not a number from 1 to %d", value, MSB_MAX_PARTITION);
    *partition = (guint)number;
    return TRUE;
}

static gboolean
set_count(const Parse *p, const char *name, const char *value, guint64 *count, GError **error)
{
    if (!g_ascii_string_to_unsigned(value, 10, 1, G_MAXINT64, count, NULL))
        return fail(p, error, "'%s=%s' is not a number above 0", name, value);
    return TRUE;
}

static gboolean
set_kind(Parse *p, const char *value, GError **error)
{
    int i;

    if (!choose(p, "kind", value, kinds, &i, error))
        return FALSE;
    p->mount->volume_kind_given = TRUE;
    p->mount->volume_is_disk = i == 2;
    return TRUE;
}

static gboolean
apply_option(Parse *p, const OptionInfo *info, const char *value, GError **error)
{
    MsbMount *m = p->mount;
    int i;

    switch (info->id) {
    case OPT_RO:
        m->readonly = TRUE;
        return TRUE;
    case OPT_RW:
        m->readonly = FALSE;
        return TRUE;
    case OPT_NOEXEC:
        m->noexec = TRUE;
        return TRUE;
    case OPT_NOSUID:
        m->nosuid = TRUE;
        return TRUE;
    case OPT_NODEV:
        m->nodev = TRUE;
        return TRUE;
    case OPT_STAT_VIRT:
        if (!choose(p, info->name, value, stat_virts, &i, error))
            return FALSE;
        m->stat_virt = (MsbStatVirt)i;
        return TRUE;
    case OPT_HOST_PERMS:
        if (!choose(p, info->name, value, host_perms, &i, error))
            return FALSE;
        m->host_perms = (MsbHostPerms)i;
        return TRUE;
    case OPT_QUOTA:
        return set_size(p, info->name, value, &m->quota.bytes, error);
    case OPT_INODES:
        return set_count(p, info->name, value, &m->quota.inodes, error);
    case OPT_CACHE:
        if (!choose(p, info->name, value, caches, &i, error))
            return FALSE;
        m->cache = (MsbCache)i;
        return TRUE;
    case OPT_XATTR:
        if (!choose(p, info->name, value, xattrs, &i, error))
            return FALSE;
        m->no_xattr = i == 1;
        return TRUE;
    case OPT_UID:
        return set_id(p, info->name, value, &m->uid, error);
    case OPT_GID:
        return set_id(p, info->name, value, &m->gid, error);
    case OPT_KIND:
        return set_kind(p, value, error);
    case OPT_SIZE:
        return set_size(p, info->name, value, &m->size, error);
    case OPT_FORMAT:
        if (!choose(p, info->name, value, msb_disk_formats, &i, error))
            return FALSE;
        m->format = g_strdup(value);
        return TRUE;
    case OPT_FSTYPE:
        if (!*value || strpbrk(value, ":;=/ "))
            return fail(p, error, "'fstype=%s' is not the name of a filesystem", value);
        m->fstype = g_strdup(value);
        return TRUE;
    case OPT_PARTITION:
        return set_partition(p, value, &m->partition, error);
    case OPT_SECRET_FILE:
        if (!*value)
            return fail(p, error, "'secret-file=' names no file");
        m->secret_file = g_canonicalize_filename(value, NULL);
        return TRUE;
    case OPT_DETECT_ZEROES:
        if (!choose(p, info->name, value, detect_zeroes, &i, error))
            return FALSE;
        m->detect_zeroes = (MsbDetectZeroes)i;
        return TRUE;
    }
    g_return_val_if_reached(FALSE);
}

static const char *const *
words_of(Option id)
{
    switch (id) {
    case OPT_STAT_VIRT:
        return stat_virts;
    case OPT_HOST_PERMS:
        return host_perms;
    case OPT_CACHE:
        return caches;
    case OPT_XATTR:
        return xattrs;
    case OPT_DETECT_ZEROES:
        return detect_zeroes;
    case OPT_KIND:
        return kinds;
    case OPT_FORMAT:
        return msb_disk_formats;
    default:
        return NULL;
    }
}

gboolean
msb_mount_nth_option(MsbMountFlag flag, guint n, MsbMountOption *option)
{
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(options); i++) {
        if (options[i].flags & (1u << flag) && n-- == 0) {
            *option = (MsbMountOption){ .name = options[i].name, .group = options[i].group,
                                        .has_value = options[i].has_value, .words = words_of(options[i].id) };
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
parse_option(Parse *p, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *name = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    const OptionInfo *info = find_option(name);

    if (!info)
        return unknown_option(p, name, error);
    if (!(info->flags & (1u << p->flag)))
        return fail(p, error, "option '%s' is not valid here", name);
    if (info->has_value && !equals)
        return fail(p, error, "option '%s' needs a value: %s=...", name, name);
    if (!info->has_value && equals)
        return fail(p, error, "option '%s' takes no value", name);
    if (p->given & (1u << info->group))
        return info->group == OPT_RO ? fail(p, error, "'ro' or 'rw' is given more than once")
                                     : fail(p, error, "option '%s' is given more than once", name);
    p->given |= 1u << info->group;
    return apply_option(p, info, equals ? equals + 1 : NULL, error);
}

static gboolean
parse_options(Parse *p, const char *text, GError **error)
{
    g_auto(GStrv) items = g_strsplit(text, ",", -1);
    guint i;

    for (i = 0; items[i]; i++) {
        g_strstrip(items[i]);
        if (items[i][0] && !parse_option(p, items[i], error))
            return FALSE;
    }
    if ((p->mount->uid < 0) != (p->mount->gid < 0))
        return fail(p, error, "'uid' and 'gid' go together");
    return TRUE;
}

/* ---- targets --------------------------------------------------------------------- */

char *
msb_mount_normalize_target(const char *target, GError **error)
{
    g_auto(GStrv) elements = g_strsplit(target, "/", -1);
    g_autoptr(GString) out = g_string_new(NULL);
    guint i;

    if (target[0] != '/') {
        msb_error_set(error, MSB_ERROR_INVALID, "'%s' is not an absolute path", target);
        return NULL;
    }
    if (strpbrk(target, ":;,")) {
        msb_error_set(error, MSB_ERROR_INVALID, "path '%s' has one of : ; , in it", target);
        return NULL;
    }
    for (i = 0; elements[i]; i++) {
        if (!elements[i][0] || g_str_equal(elements[i], "."))
            continue;
        if (g_str_equal(elements[i], "..")) {
            msb_error_set(error, MSB_ERROR_INVALID, "path '%s' has '..' in it", target);
            return NULL;
        }
        g_string_append_printf(out, "/%s", elements[i]);
    }
    if (out->len == 0) {
        msb_error_set(error, MSB_ERROR_INVALID, "the root of the guest is not a place to mount on");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static gboolean
set_target(Parse *p, const char *target, GError **error)
{
    g_autoptr(GError) local = NULL;
    const char *comma = strchr(target, ',');

    /* The usual slip: options behind a comma. */
    if (comma) {
        gsize before = (gsize)(strstr(p->spec, target) - p->spec) + (gsize)(comma - target);

        return fail(p, error, "options follow a second colon; did you mean '%.*s:%s'?", (int)before, p->spec,
                    p->spec + before + 1);
    }
    p->mount->target = msb_mount_normalize_target(target, &local);
    return p->mount->target || fail(p, error, "%s", local->message);
}

/* ---- sources --------------------------------------------------------------------- */

static gboolean
set_host_path(Parse *p, const char *source, GError **error)
{
    MsbMount *m = p->mount;
    struct stat st;
    int r;

    m->source = g_canonicalize_filename(source, NULL);
    r = stat(m->source, &st);
    switch (p->flag) {
    case MSB_MOUNT_FLAG_VOLUME:
        m->kind = r == 0 && S_ISREG(st.st_mode) ? MSB_MOUNT_FILE : MSB_MOUNT_DIR;
        return TRUE;
    case MSB_MOUNT_FLAG_DIR:
        m->kind = MSB_MOUNT_DIR;
        if (r == 0 && !S_ISDIR(st.st_mode))
            return fail(p, error, "'%s' is not a directory; for a file use --mount-file", m->source);
        break;
    case MSB_MOUNT_FLAG_FILE:
        m->kind = MSB_MOUNT_FILE;
        if (r == 0 && !S_ISREG(st.st_mode))
            return fail(p, error, "'%s' is not a regular file%s", m->source,
                        S_ISDIR(st.st_mode) ? "; for a directory use --mount-dir" : "");
        break;
    default:
        m->kind = MSB_MOUNT_DISK;
        if (r == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
            return fail(p, error, "'%s' is not a disk image", m->source);
        break;
    }
    return r == 0 || fail(p, error, "'%s': %s", m->source, g_strerror(errno));
}

static gboolean
set_source(Parse *p, const char *source, GError **error)
{
    gboolean named = p->flag == MSB_MOUNT_FLAG_NAMED ||
                     (p->flag == MSB_MOUNT_FLAG_VOLUME && !msb_looks_like_path(source));
    g_autoptr(GError) local = NULL;

    if (!named)
        return set_host_path(p, source, error);
    p->mount->kind = MSB_MOUNT_NAMED;
    p->mount->source = g_strdup(source);
    if (msb_name_validate("volume", source, &local))
        return TRUE;
    return fail(p, error, "%s%s", local->message,
                strchr(source, '/') ? "; a path on the host begins with /, ./ or ../" : "");
}

/* ---- the two forms ------------------------------------------------------------------ */

static gboolean
parse_pair(Parse *p, GError **error)
{
    const char *sep = strstr(p->spec, ":/");
    g_autofree char *source = NULL, *target = NULL;
    const char *colon;

    if (!sep) {
        colon = strchr(p->spec, ':');
        if (colon && colon[1])
            return fail(p, error, "the path in the guest, '%s', is not absolute", colon + 1);
        return fail(p, error, "not SOURCE:DEST; DEST is an absolute path in the guest");
    }
    if (sep == p->spec)
        return fail(p, error, "the source before the colon is empty");
    source = g_strndup(p->spec, (gsize)(sep - p->spec));
    colon = strchr(sep + 1, ':');
    target = colon ? g_strndup(sep + 1, (gsize)(colon - sep - 1)) : g_strdup(sep + 1);
    if (!set_target(p, target, error) || !set_source(p, source, error))
        return FALSE;
    if (!colon)
        return TRUE;
    if (strchr(colon + 1, ':'))
        return fail(p, error, "options are separated by commas, not colons");
    return parse_options(p, colon + 1, error);
}

static gboolean
is_option_block(const char *text)
{
    const OptionInfo *info = find_option(text);

    return strpbrk(text, ",=") != NULL || info != NULL || g_str_equal(text, "exec") || g_str_equal(text, "suid") ||
           g_str_equal(text, "dev");
}

static gboolean
parse_tmpfs(Parse *p, GError **error)
{
    g_auto(GStrv) fields = g_strsplit(p->spec, ":", -1);
    guint n = g_strv_length(fields), next = 1;

    p->mount->kind = MSB_MOUNT_TMPFS;
    p->mount->source = g_strdup("");
    if (n == 0 || !fields[0][0])
        return fail(p, error, "the path is empty");
    if (n > 3)
        return fail(p, error, "not PATH[:SIZE][:OPTIONS]");
    if (!set_target(p, fields[0], error))
        return FALSE;
    if (n > 1 && !is_option_block(fields[1])) {
        p->given |= 1u << OPT_SIZE;
        if (!set_size(p, "size", fields[1], &p->mount->size, error))
            return FALSE;
        next = 2;
    }
    if (next + 1 < n)
        return fail(p, error, "options are separated by commas, not colons");
    return next >= n || parse_options(p, fields[next], error);
}

/* Whether text, behind the last colon of a path, is of the path: it has a slash, but not in an option's value. */
static gboolean
goes_on_as_path(const char *text)
{
    g_autofree char *name = g_strndup(text, strcspn(text, "=,"));

    return strchr(text, '/') && !find_option(name);
}

/* A file whose name has colons in it is taken whole. */
static gboolean
parse_root(Parse *p, GError **error)
{
    const char *colon = strrchr(p->spec, ':');
    g_autofree char *path = NULL;

    if (!colon || colon[1] == '\0' || goes_on_as_path(colon + 1) || g_file_test(p->spec, G_FILE_TEST_EXISTS)) {
        path = g_strdup(p->spec);
        colon = NULL;
    } else {
        path = g_strndup(p->spec, (gsize)(colon - p->spec));
    }
    p->mount->kind = MSB_MOUNT_DISK;
    p->mount->source = g_canonicalize_filename(path, NULL);
    return !colon || parse_options(p, colon + 1, error);
}

MsbMount *
msb_mount_parse_root(const char *spec, GError **error)
{
    g_autoptr(MsbMount) mount = mount_new();
    Parse p = { .flag = (MsbMountFlag)MSB_MOUNT_FLAG_ROOT, .spec = spec, .mount = mount };

    return parse_root(&p, error) ? g_steal_pointer(&mount) : NULL;
}

MsbMount *
msb_mount_parse(MsbMountFlag flag, const char *spec, GError **error)
{
    g_autoptr(MsbMount) mount = mount_new();
    Parse p = { .flag = flag, .spec = spec, .mount = mount };
    gboolean good = flag == MSB_MOUNT_FLAG_TMPFS ? parse_tmpfs(&p, error) : parse_pair(&p, error);

    return good ? g_steal_pointer(&mount) : NULL;
}
