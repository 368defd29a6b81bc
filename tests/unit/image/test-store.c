/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store on disk: names of layers, collection, and what is damaged. */
#include <config.h>

#include <string.h>

#include "../libmsb/test-util.h"
#include "msb-digest.h"
#include "msb-store.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

typedef struct {
    char *dir;
    MsbHome *home;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    f->dir = test_make_dir();
    f->home = msb_home_open(f->dir, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    msb_home_unref(f->home);
    test_remove_dir(f->dir);
}

static char *
add_blob(MsbStore *store, const char *text)
{
    g_autoptr(GError) error = NULL;
    char *digest = msb_digest_of_bytes(text, strlen(text));

    msb_store_add_blob(store, text, strlen(text), digest, &error);
    g_assert_no_error(error);
    return digest;
}

static gboolean
has_blob(Fixture *f, const char *digest)
{
    g_autofree char *path = msb_store_blob_path(f->home, digest);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* OCI image specification, "Layer ChainID": sha256("<below> <diff_id>"). */
static void
test_layer_names(Fixture *f, gconstpointer data)
{
    static const char *const ids[] = {A, B, NULL};
    g_autofree char *chain = msb_digest_of_bytes(A " " B, strlen(A " " B));
    g_autofree char *want =
        g_strdup_printf("%s/images/layers/%s.chained.erofs", f->dir, msb_digest_hex(chain));
    g_autofree char *chained = msb_store_layer_path(f->home, ids, 1, TRUE);
    g_autofree char *plain = msb_store_layer_path(f->home, ids, 1, FALSE);
    g_autofree char *lowest = msb_store_layer_path(f->home, ids, 0, TRUE);
    g_autofree char *missing = msb_store_find_layer(f->home, ids, 1);

    (void)data;
    g_assert_cmpstr(chained, ==, want);
    g_assert_true(
        g_str_has_suffix(plain, "/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.erofs"));
    g_assert_true(g_str_has_suffix(
        lowest, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.chained.erofs"));
    g_assert_null(missing);
}

static void
test_collected(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbStore) first = msb_store_open(f->home, &error);
    MsbStore *second = msb_store_open(f->home, &error);
    g_autofree char *digest = add_blob(first, "garbage");

    (void)data;
    g_assert_no_error(error);
    msb_store_close(second);
    g_assert_true(has_blob(f, digest));
    g_assert_true(msb_store_collect(f->home, &error));
    g_assert_true(has_blob(f, digest));
    g_clear_pointer(&first, msb_store_close);
    g_assert_false(has_blob(f, digest));
}

static void
test_held(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    MsbStore *store = msb_store_open(f->home, &error);
    g_autofree char *digest = add_blob(store, "looked up");
    g_autoptr(MsbLock) hold = msb_store_hold(f->home, &error);

    (void)data;
    g_assert_no_error(error);
    msb_store_close(store);
    g_assert_true(has_blob(f, digest));
    g_clear_pointer(&hold, msb_lock_release);
    g_assert_true(msb_store_collect(f->home, &error));
    g_assert_false(has_blob(f, digest));
}

static void
test_damaged_blob(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbStore) store = msb_store_open(f->home, &error);
    g_autofree char *digest = add_blob(store, "content");
    g_autofree char *path = msb_store_blob_path(f->home, digest);
    g_autoptr(GBytes) bytes = msb_store_read_blob(f->home, "it", digest, &error);

    (void)data;
    g_assert_no_error(error);
    g_assert_cmpuint(g_bytes_get_size(bytes), ==, 7);
    g_assert_true(g_file_set_contents(path, "changed", -1, NULL));
    g_assert_null(msb_store_read_blob(f->home, "it", digest, &error));
    assert_failed_with(error, MSB_ERROR_CORRUPT, "it: expected digest");
    g_assert_null(msb_store_read_blob(f->home, "it", A, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "it");
}

/* Nothing is removed when it is not known what is in use. */
static void
check_nothing_collected(Fixture *f, const char *file, const char *text)
{
    g_autoptr(GError) error = NULL;
    MsbStore *store = msb_store_open(f->home, &error);
    g_autofree char *digest = add_blob(store, "perhaps garbage");
    g_autofree char *path = g_build_filename(f->dir, file, NULL);
    g_autofree char *parent = g_path_get_dirname(path);

    g_assert_true(msb_paths_make_dir(parent, 0700, &error));
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    msb_store_close(store);
    g_assert_true(has_blob(f, digest));
    g_assert_false(msb_store_collect(f->home, &error));
    g_assert_nonnull(error);
}

static void
test_damaged_index(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    check_nothing_collected(f, "images/index.json", data);
    g_assert_null(msb_image_list(f->home, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
}

static void
test_damaged_sandbox(Fixture *f, gconstpointer data)
{
    check_nothing_collected(f, "sandboxes/x/config.json", data);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/store/layer-names", Fixture, NULL, set_up, test_layer_names, tear_down);
    g_test_add("/store/collected", Fixture, NULL, set_up, test_collected, tear_down);
    g_test_add("/store/held", Fixture, NULL, set_up, test_held, tear_down);
    g_test_add("/store/damaged-blob", Fixture, NULL, set_up, test_damaged_blob, tear_down);
    g_test_add("/store/damaged-index/text", Fixture, "{", set_up, test_damaged_index, tear_down);
    g_test_add("/store/damaged-index/list", Fixture, "{\"version\":1}", set_up, test_damaged_index,
               tear_down);
    g_test_add("/store/damaged-index/digest", Fixture,
               "{\"version\":1,\"images\":[{\"reference\":\"a\",\"digest\":\"sha256:../../../x\"}]}", set_up,
               test_damaged_index, tear_down);
    g_test_add("/store/damaged-sandbox", Fixture, "{]", set_up, test_damaged_sandbox, tear_down);
    return g_test_run();
}
