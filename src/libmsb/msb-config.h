/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration of a sandbox: pure data, no side effects.  Every setter
 * stores; msb_config_validate() judges the whole.  The JSON form is the file
 * sandboxes/<name>/config.json.
 */
#ifndef MSB_CONFIG_H
#define MSB_CONFIG_H

#include <glib.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

typedef enum { MSB_ROOT_IMAGE, MSB_ROOT_BIND, MSB_ROOT_DISK } MsbRootKind;
typedef enum { MSB_MOUNT_DIR, MSB_MOUNT_FILE, MSB_MOUNT_NAMED, MSB_MOUNT_DISK, MSB_MOUNT_TMPFS } MsbMountKind;
typedef enum { MSB_STAT_VIRT_STRICT, MSB_STAT_VIRT_RELAXED, MSB_STAT_VIRT_OFF } MsbStatVirt;
typedef enum { MSB_HOST_PERMS_PRIVATE, MSB_HOST_PERMS_MIRROR } MsbHostPerms;
typedef enum { MSB_CACHE_AUTO, MSB_CACHE_NONE, MSB_CACHE_ALWAYS } MsbCache;
typedef enum { MSB_DETECT_ZEROES_OFF, MSB_DETECT_ZEROES_ON, MSB_DETECT_ZEROES_UNMAP } MsbDetectZeroes;
typedef enum { MSB_PULL_IF_MISSING, MSB_PULL_ALWAYS, MSB_PULL_NEVER } MsbPullPolicy;

/* What the files of a directory may take on the host, all together; 0 = no limit. */
typedef struct {
    guint64 bytes;        /* allocated */
    guint64 inodes;       /* files, directories and links */
} MsbQuota;

typedef struct {
    MsbMountKind kind;
    char *source;         /* absolute host path, volume name, "" for tmpfs */
    char *target;         /* absolute, normalised */
    gboolean readonly, noexec, nosuid, nodev;
    MsbStatVirt stat_virt;
    MsbHostPerms host_perms;
    gint64 uid, gid;      /* fallback owner, -1 = not given */
    guint64 size;         /* tmpfs, named disk: bytes, 0 = default */
    MsbQuota quota;       /* dir, named */
    MsbCache cache;       /* what the guest may keep of dir, file, named */
    gboolean no_xattr;    /* dir, file, named: the guest sees no extended attributes */
    gboolean volume_is_disk; /* named: kind=disk was asked for, or found when the sandbox was made */
    gboolean volume_kind_given;
    char *format;         /* disk: raw|qcow|qcow2|vmdk, NULL = by extension */
    char *fstype;         /* disk: NULL = find out */
    guint partition;      /* disk: from 1, 0 = find out */
    char *secret_file;    /* disk: absolute path of the file with its passphrase, NULL = not encrypted */
    MsbDetectZeroes detect_zeroes; /* disk: what becomes of zeros that the guest writes */
} MsbMount;

void msb_mount_free(MsbMount *mount);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbMount, msb_mount_free)

/* The mount flags of the CLI. */
typedef enum { MSB_MOUNT_FLAG_VOLUME, MSB_MOUNT_FLAG_DIR, MSB_MOUNT_FLAG_FILE,
               MSB_MOUNT_FLAG_NAMED, MSB_MOUNT_FLAG_DISK, MSB_MOUNT_FLAG_TMPFS } MsbMountFlag;
/* Parse SOURCE:DEST[:OPTIONS] (tmpfs: PATH[:SIZE][:OPTIONS]) as given to -v, --mount-dir, ...
 * Relative host paths are resolved against the working directory. NULL with INVALID and a
 * message that quotes the argument and says what is wrong with it. */
MsbMount *msb_mount_parse(MsbMountFlag flag, const char *spec, GError **error);
/* What text, the beginning of such an argument, may become where its options are: each a whole argument, or
 * one up to the value that is missing (transfer full; empty when nothing can be said). NULL: text has not come
 * to options yet. */
GStrv msb_mount_complete(MsbMountFlag flag, const char *text);

typedef struct _MsbConfig MsbConfig;

MsbConfig *msb_config_new(void);                       /* all defaults */
MsbConfig *msb_config_ref(MsbConfig *config);
void msb_config_unref(MsbConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbConfig, msb_config_unref)

/* Strings: copied; NULL = back to the default. Getters return what the config owns. */
void msb_config_set_name(MsbConfig *config, const char *name);
const char *msb_config_get_name(const MsbConfig *config);
/* An OCI reference, or a path (".", "..", "/...", "./...", "../...") to a directory or disk image. */
void msb_config_set_image(MsbConfig *config, const char *image);
const char *msb_config_get_image(const MsbConfig *config);
/* The same from IMAGE[:OPTIONS] of the command line: what follows the last colon of a path are the options
 * of a disk image (format=, fstype=, partition=, secret-file=, detect-zeroes=, ro, rw), unless a file of the whole
 * name exists. INVALID, naming them. */
gboolean msb_config_parse_image(MsbConfig *config, const char *text, GError **error);
/* Of a root that is a disk image: NULL = by extension, NULL = find out, 0 = find out, NULL = not encrypted, FALSE,
 * OFF. */
const char *msb_config_get_root_format(const MsbConfig *config);
const char *msb_config_get_root_fstype(const MsbConfig *config);
guint msb_config_get_root_partition(const MsbConfig *config);
const char *msb_config_get_root_secret_file(const MsbConfig *config);
gboolean msb_config_get_root_readonly(const MsbConfig *config);
MsbDetectZeroes msb_config_get_root_detect_zeroes(const MsbConfig *config);
/* A path that exists is what it is (directory: bind, file: disk); one that does not is judged by its suffix. */
MsbRootKind msb_config_get_root_kind(const MsbConfig *config);
/* Digest of the image manifest the sandbox was created from, "sha256:..." */
void msb_config_set_image_digest(MsbConfig *config, const char *digest);
const char *msb_config_get_image_digest(const MsbConfig *config);
void msb_config_set_cpus(MsbConfig *config, guint cpus);                 /* default 1 */
guint msb_config_get_cpus(const MsbConfig *config);
void msb_config_set_memory_mib(MsbConfig *config, guint64 mib);          /* default 512 */
guint64 msb_config_get_memory_mib(const MsbConfig *config);
void msb_config_set_root_disk_bytes(MsbConfig *config, guint64 bytes);   /* default 4 GiB */
guint64 msb_config_get_root_disk_bytes(const MsbConfig *config);
void msb_config_set_workdir(MsbConfig *config, const char *workdir);
const char *msb_config_get_workdir(const MsbConfig *config);
void msb_config_set_shell(MsbConfig *config, const char *shell);         /* default /bin/sh */
const char *msb_config_get_shell(const MsbConfig *config);
void msb_config_set_user(MsbConfig *config, const char *user);
const char *msb_config_get_user(const MsbConfig *config);
void msb_config_set_hostname(MsbConfig *config, const char *hostname);   /* default from the name */
char *msb_config_dup_hostname(const MsbConfig *config);                  /* the effective one */
void msb_config_set_entrypoint(MsbConfig *config, const char *const *argv);
const char *const *msb_config_get_entrypoint(const MsbConfig *config);
void msb_config_set_cmd(MsbConfig *config, const char *const *argv);
const char *const *msb_config_get_cmd(const MsbConfig *config);
/* K=V; a later value of the same key replaces the earlier and moves to the end. */
gboolean msb_config_add_env(MsbConfig *config, const char *assignment, GError **error);
const char *const *msb_config_get_env(const MsbConfig *config);
gboolean msb_config_add_label(MsbConfig *config, const char *label, GError **error); /* K[=V] */
const char *msb_config_get_label(const MsbConfig *config, const char *key);
char **msb_config_dup_label_keys(const MsbConfig *config);               /* sorted */
void msb_config_add_mount(MsbConfig *config, MsbMount *mount);           /* takes mount */
const GPtrArray *msb_config_get_mounts(const MsbConfig *config);         /* of MsbMount */
void msb_config_set_ephemeral(MsbConfig *config, gboolean ephemeral);    /* removed when it ends */
gboolean msb_config_get_ephemeral(const MsbConfig *config);
void msb_config_set_accel(MsbConfig *config, const char *accel);         /* "kvm", "tcg", NULL = find out */
const char *msb_config_get_accel(const MsbConfig *config);
gint64 msb_config_get_created(const MsbConfig *config);                  /* microseconds, real time */

/* All rules of names, mounts, sizes and combinations. */
gboolean msb_config_validate(const MsbConfig *config, GError **error);
/* Sandbox and volume names: 1-128 of [A-Za-z0-9._-], first one alphanumeric. */
gboolean msb_name_validate(const char *what, const char *name, GError **error);

JsonNode *msb_config_to_json(const MsbConfig *config);
MsbConfig *msb_config_from_json(JsonNode *node, GError **error);         /* unknown keys are errors */

/* Sizes: bare number = MiB; M/MiB, G/GiB (may be fractional), K/KiB, T/TiB. Result in bytes. */
gboolean msb_parse_size(const char *text, guint64 *bytes, GError **error);
/* Durations: bare seconds or ms, s, m, h, d. Result in milliseconds. */
gboolean msb_parse_duration(const char *text, guint64 *ms, GError **error);

G_END_DECLS

#endif
