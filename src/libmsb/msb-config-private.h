/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of MsbConfig, for the msb-config-*.c files and what creates sandboxes. */
#ifndef MSB_CONFIG_PRIVATE_H
#define MSB_CONFIG_PRIVATE_H

#include "msb-config.h"

G_BEGIN_DECLS

#define MSB_CONFIG_VERSION 1
#define MSB_DEFAULT_CPUS 1
#define MSB_DEFAULT_MEMORY_MIB 512
#define MSB_DEFAULT_ROOT_DISK (G_GUINT64_CONSTANT(4) << 30)
#define MSB_DEFAULT_SHELL "/bin/sh"
#define MSB_MAX_CPUS 255
#define MSB_MIN_MEMORY_MIB 32
#define MSB_MAX_MEMORY_MIB (G_GUINT64_CONSTANT(16) << 20)
#define MSB_MIN_DISK (G_GUINT64_CONSTANT(16) << 20)
/* What Linux numbers on one disk. */
#define MSB_MAX_PARTITION 255
#define MSB_MAX_DISK (G_GUINT64_CONSTANT(15) << 40)

struct _MsbConfig {
    gatomicrefcount refs;
    char *name;
    char *image;
    char *image_digest;
    char *root_format;      /* of a root that is a disk image: NULL = by extension, */
    char *root_fstype;      /* NULL = find out */
    guint root_partition;   /* 0 = find out */
    char *root_secret_file; /* NULL = not encrypted */
    MsbDetectZeroes root_detect_zeroes;
    gboolean root_readonly;
    guint cpus;
    guint64 memory_mib;
    guint64 root_disk_bytes;
    char *workdir;
    char *shell;
    char *user;
    char *hostname;
    char **entrypoint;      /* NULL = not given */
    char **cmd;
    GPtrArray *env;         /* "K=V" strings, NULL-terminated at all times */
    GHashTable *labels;
    GPtrArray *mounts;      /* MsbMount */
    gboolean ephemeral;
    char *accel;
    gint64 created;
};

/* msb-config.c */
void msb_config_set_created(MsbConfig *config, gint64 created);

/* msb-config-mount.c */
/* TRUE for what -v and image arguments take for a path: ".", "..", "/...", "./...", "../...". */
gboolean msb_looks_like_path(const char *text);
/* target without repeated and trailing slashes and "." elements; NULL with INVALID if it is not an
 * acceptable place in the guest. */
char *msb_mount_normalize_target(const char *target, GError **error);

/* PATH[:OPTIONS], a disk image that is the root, as a mount of kind disk without a target. NULL with INVALID. */
MsbMount *msb_mount_parse_root(const char *spec, GError **error);

/* An option of mounts, for their completion. */
typedef struct {
    const char *name;
    guint group;            /* of those that are given once together */
    gboolean has_value;
    const char *const *words; /* what the value may be; NULL: that is no list */
} MsbMountOption;

/* The option number n of those that may be given with flag; FALSE when there are not so many. */
gboolean msb_mount_nth_option(MsbMountFlag flag, guint n, MsbMountOption *option);

/* msb-config-disk.c */
/* "raw", "qcow2", ..., ended by NULL. */
extern const char *const msb_disk_formats[];
/* The format of the image at path: the one given, or what the extension says; raw without one. The file
 * itself is never asked. */
const char *msb_disk_format(const char *given, const char *path);
/* Whether the format (given, or that of the path) is one and goes with the rest; where names the image in messages
 * ("mount on '/data'"). */
gboolean msb_disk_validate(const char *where, const char *given, const char *path, const char *secret_file,
                           gboolean readonly, GError **error);

/* msb-config-validate.c: rules that a single assignment must keep. */
gboolean msb_config_check_env_key(const char *key, gsize len, GError **error);
gboolean msb_config_check_label_key(const char *key, gsize len, GError **error);

G_END_DECLS

#endif
