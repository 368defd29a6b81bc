/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Accounts with registries, see msb-login.h.  The file:
 *
 *     { "version": 1, "registries": { "HOST": { "username": ..., "password": ... },
 *                                     "HOST": { "username": ..., "store": "secret-service" } } }
 *
 * The second form says that the Secret Service is to be asked for the password
 * (msb-secret.h).  So it is asked for registries that are there alone, and never
 * to list them.
 */
#include <config.h>

#include <string.h>

#include "msb-credentials.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-reference.h"
#include "msb-registry.h"
#include "msb-secret.h"
#include "msb-state.h"

#define STORE_VERSION 1
#define LOCK_MS 10000

static const char *const store_names[] = {
    [MSB_LOGIN_AUTO] = "auto", [MSB_LOGIN_FILE] = "file", [MSB_LOGIN_SECRET_SERVICE] = "secret-service",
};

/* One registry's in the file; strings belong to the file's object. */
typedef struct {
    const char *username;
    const char *password;       /* NULL = the Secret Service has it */
} Entry;

void
msb_login_free(MsbLogin *login)
{
    g_free(login->registry);
    g_free(login->username);
    g_free(login);
}

const char *
msb_login_store_to_string(MsbLoginStore store)
{
    return store_names[store];
}

gboolean
msb_login_store_from_string(const char *text, MsbLoginStore *store)
{
    for (guint i = 0; i < G_N_ELEMENTS(store_names); i++) {
        if (strcmp(store_names[i], text) != 0)
            continue;
        *store = (MsbLoginStore)i;
        return TRUE;
    }
    return FALSE;
}

/* The registry as the names of its images have it (transfer full): what is none of them would never be found again. */
static char *
registry_of(const char *text, GError **error)
{
    g_autofree char *image = g_strconcat(text, "/some/image", NULL);
    g_autoptr(MsbReference) reference = strchr(text, '/') ? NULL : msb_reference_parse(image, NULL);

    if (strcmp(text, "registry-1.docker.io") == 0)
        return g_strdup("docker.io");
    if (reference && strcmp(reference->repository, "some/image") == 0)
        return g_steal_pointer(&reference->registry);
    msb_error_set(error, MSB_ERROR_INVALID, "'%s' is not a registry as names of images have it: HOST or HOST:PORT, "
                  "with a dot or a port if it is not localhost", text);
    return NULL;
}

/* ---- the file ------------------------------------------------------------------------- */

static char *
store_path(MsbHome *home)
{
    return msb_home_build_path(home, "registries.json", NULL);
}

/* The "registries" object of our file, empty if there is no file; *root owns it. */
static JsonObject *
load_store(MsbHome *home, JsonObject **root, GError **error)
{
    g_autofree char *path = store_path(home);
    g_autoptr(GError) local = NULL;
    JsonObject *object = msb_state_load(path, STORE_VERSION, &local);

    if (!object && !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (!object) {
        object = json_object_new();
        json_object_set_int_member(object, "version", STORE_VERSION);
    }
    if (!json_object_has_member(object, "registries"))
        json_object_set_object_member(object, "registries", json_object_new());
    if (!JSON_NODE_HOLDS_OBJECT(json_object_get_member(object, "registries"))) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "'%s': \"registries\" is not an object", path);
        json_object_unref(object);
        return NULL;
    }
    *root = object;
    return json_object_get_object_member(object, "registries");
}

static gboolean
read_entry(JsonObject *registries, const char *host, const char *path, Entry *entry, GError **error)
{
    MsbJsonReader reader;
    const char *store;

    msb_json_reader_begin(&reader, json_object_get_member(registries, host), path);
    entry->username = msb_json_get_string(&reader, "username");
    entry->password = msb_json_get_string(&reader, "password");
    store = msb_json_get_string(&reader, "store");
    if (!entry->username)
        msb_json_reader_fail(&reader, "registry \"%s\" has no \"username\"", host);
    else if (store ? strcmp(store, "secret-service") != 0 || entry->password : !entry->password)
        msb_json_reader_fail(&reader, "registry \"%s\" has neither \"password\" nor \"store\": \"secret-service\"",
                             host);
    return msb_json_reader_end(&reader, error);
}

gboolean
msb_credentials_find_kept(MsbHome *home, const char *host, GCancellable *cancellable, MsbCredentials **found,
                          GError **error)
{
    g_autoptr(JsonObject) root = NULL;
    JsonObject *registries = load_store(home, &root, error);
    g_autofree char *path = store_path(home);
    g_autoptr(GError) local = NULL;
    char *password;
    Entry entry;

    *found = NULL;
    if (!registries)
        return FALSE;
    if (!json_object_has_member(registries, host))
        return TRUE;
    if (!read_entry(registries, host, path, &entry, error))
        return FALSE;
    if (entry.password) {
        *found = msb_credentials_new(entry.username, entry.password, path);
        return TRUE;
    }
    password = msb_secret_lookup(home, host, cancellable, &local);
    if (!password && local->domain == MSB_ERROR)
        return msb_error_set(error, (MsbError)local->code, "%s ('msb registry login %s' keeps it anew, "
                             "'msb registry logout %s' forgets it)", local->message, host, host);
    if (!password) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    *found = msb_credentials_new(entry.username, password, "the Secret Service");
    msb_secret_free(password);
    return TRUE;
}

/* Load, change, save, under a lock. username NULL: remove; password NULL: the Secret Service has it. */
static gboolean
change_store(MsbHome *home, const char *host, const char *username, const char *password, GError **error)
{
    g_autofree char *path = store_path(home);
    g_autofree char *lock_path = g_strconcat(path, ".lock", NULL);
    g_autoptr(MsbLock) lock = msb_lock_acquire(lock_path, MSB_LOCK_EXCLUSIVE, LOCK_MS, error);
    g_autoptr(JsonObject) root = NULL;
    JsonObject *registries = lock ? load_store(home, &root, error) : NULL;

    if (!registries)
        return FALSE;
    if (username) {
        JsonObject *entry = json_object_new();

        json_object_set_string_member(entry, "username", username);
        if (password)
            json_object_set_string_member(entry, "password", password);
        else
            json_object_set_string_member(entry, "store", store_names[MSB_LOGIN_SECRET_SERVICE]);
        json_object_set_object_member(registries, host, entry);
    } else if (json_object_has_member(registries, host)) {
        json_object_remove_member(registries, host);
    }
    return msb_state_save(path, root, error);
}

/* Where the password for host is; NOT_FOUND if nowhere. */
static gboolean
find_store(MsbHome *home, const char *host, MsbLoginStore *store, GError **error)
{
    g_autoptr(JsonObject) root = NULL;
    JsonObject *registries = load_store(home, &root, error);
    g_autofree char *path = store_path(home);
    Entry entry;

    if (!registries)
        return FALSE;
    if (!json_object_has_member(registries, host))
        return msb_error_set(error, MSB_ERROR_NOT_FOUND, "no credentials are kept for registry '%s'", host);
    /* What cannot be read can be removed. */
    *store = read_entry(registries, host, path, &entry, NULL) && !entry.password ? MSB_LOGIN_SECRET_SERVICE
                                                                                  : MSB_LOGIN_FILE;
    return TRUE;
}

/* ---- changes ----------------------------------------------------------------------------- */

gboolean
msb_credentials_keep(MsbHome *home, const char *host, const char *username, const char *password, MsbLoginStore *store,
                     GCancellable *cancellable, GError **error)
{
    MsbLoginStore before = MSB_LOGIN_FILE;

    if (*store == MSB_LOGIN_AUTO)
        *store = msb_secret_is_available(cancellable) ? MSB_LOGIN_SECRET_SERVICE : MSB_LOGIN_FILE;
    if (*store == MSB_LOGIN_SECRET_SERVICE) {
        if (msb_secret_store(home, host, username, password, cancellable, error))
            return change_store(home, host, username, NULL, error);
        if (error && *error && (*error)->domain == MSB_ERROR) {
            g_autofree char *said = (*error)->message;

            (*error)->message = g_strconcat(said, " (--store=file keeps it in a file)", NULL);
        }
        return FALSE;
    }
    find_store(home, host, &before, NULL);
    /* The one that is not valid any more must not stay behind, if the service can be asked. */
    if (before == MSB_LOGIN_SECRET_SERVICE)
        msb_secret_remove(home, host, cancellable, NULL);
    return change_store(home, host, username, password, error);
}

gboolean
msb_registry_login(MsbHome *home, const char *name, const MsbLoginOptions *options, MsbLoginStore *store,
                   GCancellable *cancellable, GError **error)
{
    g_autofree char *host = registry_of(name, error);
    MsbRegistryOptions registry_options = {.plain_http = options->plain_http, .ca_file = options->ca_file,
                                           .username = options->username, .password = options->password};
    g_autoptr(MsbRegistry) registry = host ? msb_registry_new(home, host, &registry_options, error) : NULL;
    MsbLoginStore where = options->store;

    if (!registry || !msb_registry_check(registry, cancellable, error) ||
        !msb_credentials_keep(home, host, options->username, options->password, &where, cancellable, error))
        return FALSE;
    if (store)
        *store = where;
    return TRUE;
}

gboolean
msb_registry_logout(MsbHome *home, const char *name, GCancellable *cancellable, GError **error)
{
    g_autofree char *host = registry_of(name, error);
    MsbLoginStore store;

    return host && find_store(home, host, &store, error) &&
           (store != MSB_LOGIN_SECRET_SERVICE || msb_secret_remove(home, host, cancellable, error)) &&
           change_store(home, host, NULL, NULL, error);
}

/* ---- what there is -------------------------------------------------------------------------- */

static gint
compare_logins(gconstpointer a, gconstpointer b)
{
    const MsbLogin *x = *(const MsbLogin *const *)a, *y = *(const MsbLogin *const *)b;

    return strcmp(x->registry, y->registry);
}

GPtrArray *
msb_registry_list(MsbHome *home, GError **error)
{
    g_autoptr(JsonObject) root = NULL;
    JsonObject *registries = load_store(home, &root, error);
    g_autoptr(GPtrArray) logins = g_ptr_array_new_with_free_func((GDestroyNotify)msb_login_free);
    g_autofree char *path = store_path(home);
    g_autoptr(GList) members = NULL;

    if (!registries)
        return NULL;
    members = json_object_get_members(registries);
    for (GList *l = members; l; l = l->next) {
        MsbLogin *login;
        Entry entry;

        if (!read_entry(registries, l->data, path, &entry, error))
            return NULL;
        login = g_new0(MsbLogin, 1);
        login->registry = g_strdup(l->data);
        login->username = g_strdup(entry.username);
        login->store = entry.password ? MSB_LOGIN_FILE : MSB_LOGIN_SECRET_SERVICE;
        g_ptr_array_add(logins, login);
    }
    g_ptr_array_sort(logins, compare_logins);
    return g_steal_pointer(&logins);
}
