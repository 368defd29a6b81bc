/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Command line: a table for getopt_long, one function per value, and the
 * checks across options at the end.
 */
#include <config.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mb-io.h"
#include "mb-log.h"
#include "mb-parse.h"

#include "bk-libqcow.h"
#include "bk-options.h"
#include "bk-qcow2.h"
#include "bk-vmdk.h"

enum {
    OPT_BLK_FILE = VH_MAIN_OPT_FIRST,
    OPT_CONCAT,
    OPT_DETECT_ZEROES,
    OPT_DISCARD,
    OPT_DISK_ID,
    OPT_ENGINE,
    OPT_FILE,
    OPT_FORMAT,
    OPT_GROW,
    OPT_JOURNAL_FD,
    OPT_NUM_QUEUES,
    OPT_POLL_US,
    OPT_PRINT_CONFINEMENT,
    OPT_READ_ONLY,
    OPT_RESIZE_FD,
    OPT_SECRET_FILE,
    OPT_SERIAL,
    OPT_THREADS,
};

static const struct option long_options[] = {
    {"blk-file", required_argument, NULL, OPT_BLK_FILE},
    {"concat", no_argument, NULL, OPT_CONCAT},
    {"detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES},
    {"discard", required_argument, NULL, OPT_DISCARD},
    {"disk-id", required_argument, NULL, OPT_DISK_ID},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"file", required_argument, NULL, OPT_FILE},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"grow", required_argument, NULL, OPT_GROW},
    {"journal-fd", required_argument, NULL, OPT_JOURNAL_FD},
    {"num-queues", required_argument, NULL, OPT_NUM_QUEUES},
    {"poll-us", required_argument, NULL, OPT_POLL_US},
    {"print-confinement", no_argument, NULL, OPT_PRINT_CONFINEMENT},
    {"read-only", no_argument, NULL, OPT_READ_ONLY},
    {"resize-fd", required_argument, NULL, OPT_RESIZE_FD},
    {"secret-file", required_argument, NULL, OPT_SECRET_FILE},
    {"serial", required_argument, NULL, OPT_SERIAL},
    {"threads", required_argument, NULL, OPT_THREADS},
    {NULL, 0, NULL, 0},
};

static const char *const help[] = {
    "  --blk-file=PATH       serve this raw file or block device",
    "  --format=raw|qcow|qcow2|vmdk\n"
    "                        what --blk-file is (default: raw)",
    "  --concat              serve the files below as partitions of one read-only disk",
    "  --file=PATH[,name=N]  a file of the concatenation, in order; N is its partition name",
    "  --disk-id=UUID        GUID of the concatenation (default: made from names and sizes)",
    "  --read-only           refuse every change",
    "  --journal-fd=N        memory file that keeps a qcow2 image's changed tables if we die",
    "  --secret-file=PATH    read the passphrase of an encrypted image from this file",
    "  --serial=TEXT         serial number, at most 20 bytes",
    "  --num-queues=N        queues, 1 (default) to 16",
    "  --discard=on|off      let discarded ranges be freed on the host (default: on)",
    "  --detect-zeroes=off|on|unmap\n"
    "                        look for zeros in what is written (default: off); unmap frees their place",
    "  --engine=auto|io_uring|threads",
    "                        how requests that must wait are carried out (default: auto)",
    "  --threads=N           threads for blocking operations, 1 to 64 (default: 8)",
    "  --poll-us=N           look for the next request for up to N microseconds before sleeping,",
    "                        0 to 1000 (default: 50)",
    "  --resize-fd=N         at SIGHUP read from this socket how large the disk is to be",
    "  --grow=[+]BYTES       make the disk so large, or larger by so much, and exit",
    "  --print-confinement   confine the process, print what was applied as JSON, exit",
    NULL,
};

static const char capabilities[] = "{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}";

static int
set_serial(struct bk_options *o, const char *arg)
{
    size_t n = strlen(arg);

    if (n > sizeof(o->dev.serial))
        return vh_main_bad_value("serial", arg, "at most 20 bytes");
    memset(o->dev.serial, 0, sizeof(o->dev.serial));
    memcpy(o->dev.serial, arg, n);
    return 0;
}

static const char *const formats[] = {
    [BK_FORMAT_RAW] = "raw", [BK_FORMAT_QCOW] = "qcow", [BK_FORMAT_QCOW2] = "qcow2", [BK_FORMAT_VMDK] = "vmdk"};

static int
set_format(struct bk_options *o, const char *arg)
{
    for (unsigned i = 0; i < MB_ARRAY_SIZE(formats); i++) {
        if (strcmp(arg, formats[i]) == 0) {
            o->format = (enum bk_format)i;
            return 0;
        }
    }
    return vh_main_bad_value("format", arg, "raw, qcow, qcow2 or vmdk");
}

static int
set_detect_zeroes(struct bk_options *o, const char *arg)
{
    static const char *const words[] = {
        [BK_DETECT_ZEROES_OFF] = "off", [BK_DETECT_ZEROES_ON] = "on", [BK_DETECT_ZEROES_UNMAP] = "unmap"};

    for (unsigned i = 0; i < MB_ARRAY_SIZE(words); i++) {
        if (strcmp(arg, words[i]) == 0) {
            o->dev.detect_zeroes = (enum bk_detect_zeroes)i;
            return 0;
        }
    }
    return vh_main_bad_value("detect-zeroes", arg, "off, on or unmap");
}

/* PATH[,name=NAME]; a path may contain commas, a name may not. */
static int
add_file(struct bk_options *o, const char *arg)
{
    static const char key[] = ",name=";
    struct bk_concat_file *files;
    char *path = (char *)(uintptr_t)arg; /* argv is ours to cut */
    char *comma = strrchr(path, ',');

    files = reallocarray(o->files, o->n_files + 1, sizeof(*files));
    if (!files) {
        mb_error("out of memory");
        return -1;
    }
    o->files = files;
    files[o->n_files] = (struct bk_concat_file){.path = path};
    if (comma && strncmp(comma, key, sizeof(key) - 1) == 0) {
        *comma = '\0';
        files[o->n_files].name = comma + sizeof(key) - 1;
    }
    if (!*path)
        return vh_main_bad_value("file", arg, "PATH[,name=NAME]");
    o->n_files++;
    return 0;
}

static int
set_option(void *opaque, int val, const char *arg)
{
    struct bk_options *o = opaque;
    uint32_t us, fd;

    switch (val) {
    case OPT_BLK_FILE:
        o->blk_file = arg;
        return 0;
    case OPT_CONCAT:
        o->concat = true;
        return 0;
    case OPT_DETECT_ZEROES:
        return set_detect_zeroes(o, arg);
    case OPT_DISCARD:
        return mb_parse_bool(arg, &o->dev.discard) < 0 ? vh_main_bad_value("discard", arg, "on or off") : 0;
    case OPT_DISK_ID:
        o->has_disk_id = true;
        return bk_uuid_parse(arg, &o->disk_id) < 0 ? vh_main_bad_value("disk-id", arg, "a UUID") : 0;
    case OPT_ENGINE:
        return bk_engine_parse_kind(arg, &o->dev.engine) < 0
                   ? vh_main_bad_value("engine", arg, "auto, io_uring or threads") : 0;
    case OPT_FILE:
        return add_file(o, arg);
    case OPT_FORMAT:
        return set_format(o, arg);
    case OPT_GROW:
        o->grow = arg;
        return 0;
    case OPT_JOURNAL_FD:
        if (vh_main_number("journal-fd", arg, 0, INT32_MAX, &fd) < 0)
            return -1;
        o->journal_fd = (int)fd;
        return 0;
    case OPT_NUM_QUEUES:
        return vh_main_number("num-queues", arg, 1, BK_MAX_QUEUES, &o->dev.num_queues);
    case OPT_POLL_US:
        if (vh_main_number("poll-us", arg, 0, 1000, &us) < 0)
            return -1;
        o->dev.poll_max_ns = us * 1000;
        return 0;
    case OPT_PRINT_CONFINEMENT:
        o->print_confinement = true;
        return 0;
    case OPT_READ_ONLY:
        o->read_only = true;
        return 0;
    case OPT_RESIZE_FD:
        if (vh_main_number("resize-fd", arg, 0, INT32_MAX, &fd) < 0)
            return -1;
        o->dev.resize_fd = (int)fd;
        return mb_set_nonblock((int)fd, true) < 0 ? vh_main_bad_value("resize-fd", arg, "a socket") : 0;
    case OPT_SECRET_FILE:
        o->secret_file = arg;
        return 0;
    case OPT_SERIAL:
        return set_serial(o, arg);
    case OPT_THREADS:
        return vh_main_number("threads", arg, 1, 64, &o->dev.max_threads);
    }
    return -1;
}

static bool
without_socket(void *opaque)
{
    const struct bk_options *o = opaque;

    return o->print_confinement || o->grow;
}

static int
check(const struct bk_options *o)
{
    if (o->concat && o->blk_file) {
        mb_error("--concat and --blk-file exclude each other");
        return -1;
    }
    if (o->concat && o->n_files == 0) {
        mb_error("--concat needs at least one --file");
        return -1;
    }
    if (!o->concat && (o->n_files > 0 || o->has_disk_id)) {
        mb_error("--file and --disk-id belong to --concat");
        return -1;
    }
    if (o->format != BK_FORMAT_RAW && o->concat) {
        mb_error("--format=%s is for --blk-file", formats[o->format]);
        return -1;
    }
    if (o->secret_file && o->format != BK_FORMAT_QCOW && o->format != BK_FORMAT_QCOW2) {
        mb_error("--secret-file is for --format=qcow and --format=qcow2");
        return -1;
    }
    if (o->journal_fd >= 0 && (o->format != BK_FORMAT_QCOW2 || o->secret_file || o->read_only)) {
        mb_error("--journal-fd is for --format=qcow2 without --read-only");
        return -1;
    }
    if ((o->grow || o->dev.resize_fd >= 0) && (o->concat || o->read_only)) {
        mb_error("--grow and --resize-fd are for --blk-file without --read-only");
        return -1;
    }
    if (!o->concat && !o->blk_file) {
        mb_error("nothing to serve: give --blk-file, or --concat and --file");
        return -1;
    }
    return 0;
}

int
bk_options_parse(int argc, char **argv, struct bk_options *opts)
{
    static const struct vh_main_program program = {
        .name = "msb-vhost-blk",
        .synopsis = "serve a file as a disk over vhost-user",
        .help = help,
        .capabilities = capabilities,
        .options = long_options,
        .option = set_option,
        .without_socket = without_socket,
    };
    int rc;

    memset(opts, 0, sizeof(*opts));
    opts->journal_fd = opts->dev.resize_fd = -1;
    opts->dev.num_queues = 1;
    opts->dev.discard = true;
    opts->dev.poll_max_ns = 50000;
    opts->dev.max_threads = 8;
    rc = vh_main_parse(&program, opts, argc, argv, &opts->common);
    return rc == 0 ? check(opts) : rc;
}

void
bk_options_clear(struct bk_options *opts)
{
    free(opts->files);
    opts->files = NULL;
}

static int
open_legacy(const struct bk_options *opts, enum bk_libqcow_kind kind, struct bk_image **image, struct bk_err *err)
{
    if (!opts->read_only)
        return bk_fail(err, -ENOTSUP,
                       "\"%s\": %s can only be read; to write it, convert it to qcow2 with qemu-img convert",
                       opts->blk_file,
                       kind == BK_LIBQCOW_V1 ? "a qcow image of version 1" : "an encrypted qcow2 image");
    return bk_libqcow_open(opts->blk_file, kind, opts->secret_file, image, err);
}

int
bk_options_open_image(const struct bk_options *opts, struct bk_image **image, struct bk_err *err)
{
    if (opts->concat)
        return bk_concat_open(opts->files, opts->n_files, opts->has_disk_id ? &opts->disk_id : NULL, image, err);
    switch (opts->format) {
    case BK_FORMAT_QCOW:
        return open_legacy(opts, BK_LIBQCOW_V1, image, err);
    case BK_FORMAT_QCOW2:
        if (opts->secret_file)
            return open_legacy(opts, BK_LIBQCOW_V2, image, err);
        if (opts->journal_fd >= 0)
            return bk_qcow2_open_journaled(opts->blk_file, opts->journal_fd, image, err);
        return bk_qcow2_open(opts->blk_file, opts->read_only, opts->common.reconnect, image, err);
    case BK_FORMAT_VMDK:
        return bk_vmdk_open(opts->blk_file, opts->read_only, image, err);
    case BK_FORMAT_RAW:
        break;
    }
    return bk_raw_open(opts->blk_file, opts->read_only, image, err);
}
