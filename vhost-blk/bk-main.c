/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msb-vhost-blk: options, image, device, socket, confinement, serving; in this
 * order, so that everything that needs rights is done before they are given
 * up.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "mb-log.h"

#include "bk-confine.h"
#include "bk-dev.h"
#include "bk-options.h"
#include "bk-resize.h"
#include "vh-main.h"

static void
tell_confinement(const struct mb_confine_report *report)
{
    for (unsigned i = 0; i < MB_CONFINE_N_STAGES; i++) {
        if (report->stage[i].state != MB_CONFINE_APPLIED)
            mb_info("confinement: %s not wholly applied: error %d", mb_confine_stage_name(i), report->stage[i].error);
    }
}

static int
print_confinement(const struct mb_confine_report *report)
{
    char json[MB_CONFINE_JSON_MAX];

    if (mb_confine_to_json(report, json, sizeof(json)) < 0)
        return EXIT_FAILURE;
    return puts(json) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
grow(struct bk_dev *dev, const char *size)
{
    struct bk_err err;

    if (bk_resize(dev, size, &err) < 0) {
        mb_error("%s", err.text);
        return EXIT_FAILURE;
    }
    return printf("%llu\n", (unsigned long long)atomic_load(&dev->size)) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
serve(const struct bk_options *opts, struct bk_dev *dev)
{
    struct mb_confine_report report;
    struct bk_err err;
    struct vh_dev *vh;
    int listen_fd = -1, conn_fd = -1;
    int status;

    if (!opts->print_confinement && !opts->grow && vh_main_listen(&opts->common, &listen_fd, &conn_fd) < 0)
        return EXIT_FAILURE;
    vh = vh_dev_new(&dev->ops, dev);
    if (!vh) {
        mb_error("out of memory");
        return EXIT_FAILURE;
    }
    if (bk_confine(dev, (int[]){listen_fd, conn_fd, opts->common.ready_fd, opts->dev.resize_fd}, 4, &report) != 0)
        tell_confinement(&report);
    if (opts->print_confinement) {
        status = print_confinement(&report);
    } else if (bk_image_begin(dev->image, &err) < 0) {
        mb_error("%s", err.text);
        status = EXIT_FAILURE;
    } else if (opts->grow) {
        status = grow(dev, opts->grow);
    } else {
        status = vh_main_serve(&opts->common, vh, listen_fd, conn_fd);
    }
    vh_dev_free(vh);
    return status;
}

static void
describe(const struct bk_dev *dev)
{
    mb_debug("%s image of %llu bytes, %u file(s), %s, engine %s, %u queue(s)", dev->image->ops->format,
             (unsigned long long)dev->image->size, dev->image->n_files,
             dev->image->read_only ? "read-only" : "writable", bk_engine_name(dev->engines[0]), dev->set.num_queues);
}

static int
run(const struct bk_options *opts)
{
    struct bk_image *image;
    struct bk_dev *dev;
    struct bk_err err;
    int status;

    if (bk_options_open_image(opts, &image, &err) < 0 || bk_dev_new(image, &opts->dev, &dev, &err) < 0) {
        mb_error("%s", err.text);
        return EXIT_FAILURE;
    }
    describe(dev);
    status = serve(opts, dev);
    bk_dev_free(dev);
    return status;
}

int
main(int argc, char **argv)
{
    struct bk_options opts;
    int rc, status;

    rc = bk_options_parse(argc, argv, &opts);
    if (rc == 0)
        status = run(&opts);
    else
        status = rc < 0 ? 2 : EXIT_SUCCESS;
    bk_options_clear(&opts);
    return status;
}
