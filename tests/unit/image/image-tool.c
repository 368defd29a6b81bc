/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image store from the shell, for tests:
 *
 *   image-tool HOME load PATH [TAG]     prints reference and digest of every image
 *   image-tool HOME import PATH TAG
 *   image-tool HOME ls                  reference, digest, layers
 *   image-tool HOME rm REFERENCE
 *   image-tool HOME inspect REFERENCE
 *   image-tool HOME tree REFERENCE      every file of the image, its layers stacked
 *   image-tool - convert TAR OUT        one layer, times of the stages to stderr
 *   image-tool - tree-of DIR            like tree, of a directory
 */
#include <config.h>

#include <archive.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "erofs-read.h"
#include "msb-image.h"
#include "msb-layer.h"

static int
fail(GError *error)
{
    fprintf(stderr, "image-tool: %s\n", error->message);
    g_error_free(error);
    return 1;
}

static void
print_image(MsbImage *image)
{
    printf("%s %s %u\n", msb_image_get_reference(image), msb_image_get_digest(image),
           msb_image_get_n_layers(image));
}

static void
print_tree(MsbImage *image)
{
    GTree *tree = erofs_read(msb_image_get_layer_path(image, 0));

    for (guint i = 1; i < msb_image_get_n_layers(image); i++)
        erofs_apply(tree, erofs_read(msb_image_get_layer_path(image, i)));
    erofs_print(tree, TRUE);
    g_tree_unref(tree);
}

static int
convert(const char *from, const char *to)
{
    struct archive *archive = archive_read_new();
    MsbLayerOptions options = {.whiteouts = TRUE};
    GError *error = NULL;
    int fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    archive_read_support_filter_all(archive);
    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    if (archive_read_open_filename(archive, from, 65536) != ARCHIVE_OK) {
        fprintf(stderr, "image-tool: %s\n", archive_error_string(archive));
        return 1;
    }
    msb_layer_from_archive(archive, fd, &options, NULL, &error);
    archive_read_free(archive);
    close(fd);
    return error ? fail(error) : 0;
}

static int
with_home(MsbHome *home, int argc, char **argv)
{
    const char *command = argv[0], *argument = argc > 1 ? argv[1] : "", *tag = argc > 2 ? argv[2] : NULL;
    GError *error = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(MsbImage) image = NULL;

    if (strcmp(command, "load") == 0)
        images = msb_image_load(home, argument, tag, NULL, NULL, NULL, &error);
    else if (strcmp(command, "ls") == 0)
        images = msb_image_list(home, &error);
    else if (strcmp(command, "import") == 0)
        image = msb_image_import(home, argument, tag, NULL, NULL, NULL, NULL, &error);
    else if (strcmp(command, "rm") == 0)
        msb_image_remove(home, argument, FALSE, &error);
    else
        image = msb_image_lookup(home, argument, &error);
    if (error)
        return fail(error);
    for (guint i = 0; images && i < images->len; i++)
        print_image(g_ptr_array_index(images, i));
    if (image && strcmp(command, "tree") == 0) {
        print_tree(image);
    } else if (image && strcmp(command, "inspect") == 0) {
        g_autofree char *json = msb_image_dup_json(image);

        puts(json);
    } else if (image) {
        print_image(image);
    }
    return 0;
}

int
main(int argc, char **argv)
{
    GError *error = NULL;
    g_autoptr(MsbHome) home = NULL;

    if (argc < 3) {
        fprintf(stderr, "usage: image-tool HOME COMMAND [ARGUMENT...]\n");
        return 2;
    }
    if (strcmp(argv[2], "convert") == 0 && argc == 5)
        return convert(argv[3], argv[4]);
    if (strcmp(argv[2], "tree-of") == 0 && argc == 4) {
        GTree *tree = erofs_read_directory(argv[3]);

        erofs_print(tree, TRUE);
        g_tree_unref(tree);
        return 0;
    }
    home = msb_home_open(argv[1], &error);
    return home ? with_home(home, argc - 2, argv + 2) : fail(error);
}
