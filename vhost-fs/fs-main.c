/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msb-vhost-fs: options, share, socket, confinement, serving; in this order,
 * so that all that needs rights is done before they are given up.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "fs-confine.h"
#include "fs-dev.h"
#include "fs-devfuse.h"
#include "fs-options.h"
#include "mb-log.h"

static void
tell_confinement(const struct mb_confine_report *report)
{
    char json[MB_CONFINE_JSON_MAX];

    if (mb_confine_to_json(report, json, sizeof(json)) == 0)
        mb_debug("confinement: %s", json);
}

static int
print_confinement(const struct mb_confine_report *report)
{
    char json[MB_CONFINE_JSON_MAX];

    if (mb_confine_to_json(report, json, sizeof(json)) < 0)
        return EXIT_FAILURE;
    return puts(json) < 0 || fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
serve(const struct fs_options *opts, struct fs *fs, int listen_fd, int conn_fd)
{
    struct mb_confine_report report;
    struct fs_pool *pool = NULL;
    struct vh_dev *vh = NULL;
    struct fs_dev dev;
    int status = EXIT_FAILURE;

    if (opts->threads)
        pool = fs_pool_new(opts->threads);
    fs_dev_init(&dev, fs, pool, opts->tag, opts->poll_us * 1000);
    vh = vh_dev_new(&dev.ops, &dev);
    if (!vh || (opts->threads && !pool)) {
        mb_error("out of memory");
    } else {
        if (fs_confine(fs, (int[]){listen_fd, conn_fd, opts->common.ready_fd}, 3, &report) != 0)
            tell_confinement(&report);
        status = opts->print_confinement ? print_confinement(&report)
                                         : vh_main_serve(&opts->common, vh, listen_fd, conn_fd);
    }
    vh_dev_free(vh);
    fs_pool_free(pool);
    return status;
}

int
main(int argc, char **argv)
{
    int listen_fd = -1, conn_fd = -1, r, status;
    struct fs_options opts;
    char err[FS_ERR_MAX];
    struct fs *fs;

    r = fs_options_parse(argc, argv, &opts);
    if (r != 0)
        return r < 0 ? 2 : EXIT_SUCCESS;
    /* Before fs_new(), which leaves the working directory that a relative path means. */
    if (!opts.print_confinement && !opts.mount_point[0] && vh_main_listen(&opts.common, &listen_fd, &conn_fd) < 0)
        return EXIT_FAILURE;
    if (opts.mount_point[0] &&
        fs_devfuse_become_owner(opts.config.shared_dir ? opts.config.shared_dir : opts.config.shared_file) < 0)
        return EXIT_FAILURE;
    if (fs_new(&opts.config, &fs, err) < 0) {
        mb_error("%s", err);
        return EXIT_FAILURE;
    }
    if (opts.mount_point[0])
        status = fs_devfuse_serve(fs, opts.mount_point, opts.threads) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    else
        status = serve(&opts, fs, listen_fd, conn_fd);
    fs_free(fs);
    return status;
}
