/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images under more names, what they were made by, and the end of those that nothing needs. */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-error.h"
#include "msb-image-private.h"
#include "msb-json.h"
#include "msb-reference.h"

#define MAX_HISTORY 4096

/* ---- tag ----------------------------------------------------------------------------------- */

gboolean
msb_image_tag(MsbHome *home, const char *text, const char *name, GError **error)
{
    g_autoptr(MsbReference) reference = msb_reference_parse(name, error);
    g_autoptr(MsbStore) store = NULL;
    g_autoptr(MsbImage) image = NULL;
    g_autofree char *full = NULL;

    if (!reference)
        return FALSE;
    if (reference->digest)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "'%s' pins a digest: an image is tagged with a name and a tag", name);
    full = msb_reference_to_string(reference);
    store = msb_store_open(home, error);
    image = store ? msb_image_lookup(home, text, error) : NULL;
    if (!image)
        return FALSE;
    return msb_store_tag(store, (const char *const[]){full, NULL},
                         (const char *const[]){msb_image_get_digest(image), NULL}, error);
}

/* ---- remove -------------------------------------------------------------------------------- */

typedef struct {
    MsbHome *home;
    const char *text;
    gboolean force;
} Removal;

/* The names of the image that entry is of (element-type borrowed string). */
static GPtrArray *
names_of(const GPtrArray *entries, const MsbStoreEntry *entry)
{
    GPtrArray *names = g_ptr_array_new();

    for (guint i = 0; i < entries->len; i++) {
        const MsbStoreEntry *other = g_ptr_array_index(entries, i);

        if (strcmp(other->digest, entry->digest) == 0)
            g_ptr_array_add(names, other->reference);
    }
    return names;
}

static gboolean
refuse_several(const Removal *removal, GPtrArray *names, GError **error)
{
    g_autofree char *list = NULL;

    g_ptr_array_add(names, NULL);
    list = g_strjoinv(", ", (char **)names->pdata);
    return msb_error_set(error, MSB_ERROR_IN_USE,
                         "image '%s' has more than one name (%s): remove each by its name, or --force", removal->text,
                         list);
}

static gboolean
check_unused(const Removal *removal, const MsbStoreEntry *entry, GError **error)
{
    g_auto(GStrv) users = msb_store_users_of(removal->home, entry->digest, error);
    g_autofree char *names = NULL;

    if (!users)
        return FALSE;
    if (!users[0] || removal->force)
        return TRUE;
    names = g_strjoinv(", ", users);
    return msb_error_set(error, MSB_ERROR_IN_USE, "image '%s' is used by %s: remove what uses it first, or --force",
                         entry->reference, names);
}

/* A name goes, or with its digest the image under all its names. Only who takes the last name asks who uses it: what
 * was made from an image keeps to its digest, not to a name. */
static gboolean
choose_removed(const GPtrArray *entries, gpointer data, GPtrArray *references, GError **error)
{
    const Removal *removal = data;
    g_autoptr(GPtrArray) names = NULL;
    const MsbStoreEntry *entry;
    gboolean by_name;

    if (!msb_image_find_entry(entries, removal->text, &entry, &by_name, error))
        return FALSE;
    if (!entry)
        return msb_image_set_not_found(removal->text, error);
    names = names_of(entries, entry);
    if (by_name && names->len > 1) {
        g_ptr_array_add(references, g_strdup(entry->reference));
        return TRUE;
    }
    if (names->len > 1 && !removal->force)
        return refuse_several(removal, names, error);
    if (!check_unused(removal, entry, error))
        return FALSE;
    for (guint i = 0; i < names->len; i++)
        g_ptr_array_add(references, g_strdup(g_ptr_array_index(names, i)));
    return TRUE;
}

gboolean
msb_image_remove(MsbHome *home, const char *text, gboolean force, GError **error)
{
    Removal removal = {home, text, force};
    g_autoptr(MsbStore) store = msb_store_open(home, error);

    return store && msb_store_untag(store, choose_removed, &removal, error);
}

/* ---- history ------------------------------------------------------------------------------- */

void
msb_image_history_free(MsbImageHistory *step)
{
    if (!step)
        return;
    g_free(step->created_by);
    g_free(step->comment);
    g_free(step->diff_id);
    g_free(step);
}

static gint64
parse_time(const char *text)
{
    g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;

    return time ? g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time) : 0;
}

static MsbImageHistory *
read_step(JsonNode *node, gboolean *empty, GError **error)
{
    MsbImageHistory *step = g_new0(MsbImageHistory, 1);
    MsbJsonReader reader;

    msb_json_reader_begin(&reader, node, "the history of the image");
    msb_json_reader_allow_unknown(&reader);
    step->created = parse_time(msb_json_get_string(&reader, "created"));
    step->created_by = g_strdup(msb_json_get_string(&reader, "created_by"));
    step->comment = g_strdup(msb_json_get_string(&reader, "comment"));
    *empty = msb_json_get_boolean(&reader, "empty_layer", FALSE);
    if (msb_json_reader_end(&reader, error))
        return step;
    msb_image_history_free(step);
    return NULL;
}

/* The layer that a step made, if there is one left. */
static void
add_layer(const MsbImage *image, guint layer, MsbImageHistory *step)
{
    struct stat st;

    step->diff_id = g_strdup(msb_image_get_diff_id(image, layer));
    if (step->diff_id && stat(msb_image_get_layer_path(image, layer), &st) == 0)
        step->size = (guint64)st.st_size;
}

GPtrArray *
msb_image_dup_history(const MsbImage *image, GError **error)
{
    g_autoptr(GPtrArray) steps = g_ptr_array_new_with_free_func((GDestroyNotify)msb_image_history_free);
    GBytes *bytes = msb_image_get_config_bytes(image);
    g_autoptr(JsonNode) root =
        msb_json_parse("image configuration", g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    JsonObject *object = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    JsonNode *list = object ? json_object_get_member(object, "history") : NULL;
    JsonArray *array = list && JSON_NODE_HOLDS_ARRAY(list) ? json_node_get_array(list) : NULL;
    guint n = array ? json_array_get_length(array) : 0, layer = 0;

    if (!root)
        return NULL;
    if (n > MAX_HISTORY) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "the history of image '%s' has more than %d steps",
                      msb_image_get_reference(image), MAX_HISTORY);
        return NULL;
    }
    for (guint i = 0; i < n; i++) {
        gboolean empty;
        MsbImageHistory *step = read_step(json_array_get_element(array, i), &empty, error);

        if (!step)
            return NULL;
        if (!empty)
            add_layer(image, layer++, step);
        g_ptr_array_add(steps, step);
    }
    /* Not every builder says how layers came to be. */
    for (; layer < msb_image_get_n_layers(image); layer++) {
        MsbImageHistory *step = g_new0(MsbImageHistory, 1);

        add_layer(image, layer, step);
        g_ptr_array_add(steps, step);
    }
    return g_steal_pointer(&steps);
}

/* ---- prune ----------------------------------------------------------------------------------- */

void
msb_image_prune_free(MsbImagePrune *prune)
{
    if (!prune)
        return;
    g_strfreev(prune->references);
    g_free(prune);
}

MsbImagePrune *
msb_image_prune(MsbHome *home, gboolean dry_run, GError **error)
{
    g_autoptr(MsbStore) store = msb_store_open(home, error);
    g_autoptr(GPtrArray) removed = g_ptr_array_new_with_free_func(g_free), left = NULL;
    MsbImagePrune *prune;
    MsbStoreUse use;

    if (!store || !msb_store_untag_unused(store, dry_run, &left, removed, error) ||
        !msb_store_measure(home, left, &use, error))
        return NULL;
    prune = g_new0(MsbImagePrune, 1);
    prune->layers = use.unused_layers;
    prune->blobs = use.unused_blobs;
    prune->bytes = use.unused;
    g_ptr_array_add(removed, NULL);
    prune->references = (char **)g_ptr_array_steal(removed, NULL);
    return prune; /* closing the store removes what nothing leads to now */
}
