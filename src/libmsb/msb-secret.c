/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords in the Secret Service: see the header. */
#include <config.h>

#include <dlfcn.h>
#include <gio/gio.h>
#include <string.h>

#include "msb-error.h"
#include "msb-secret.h"

void
msb_secret_free(char *password)
{
    if (password)
        explicit_bzero(password, strlen(password));
    g_free(password);
}

#ifdef HAVE_LIBSECRET

#include <libsecret/secret.h>

#define LIBRARY "libsecret-1.so.0"
#define PATIENCE_SECONDS 120

/* What is called of libsecret. */
typedef struct {
    typeof(secret_service_get_sync) *get_service;
    typeof(secret_service_store_sync) *store;
    typeof(secret_service_lookup_sync) *lookup;
    typeof(secret_service_clear_sync) *clear;
    typeof(secret_value_new) *value_new;
    typeof(secret_value_get_text) *value_get_text;
    typeof(secret_value_unref) *value_unref;
} Library;

static const SecretSchema schema = {
    .name = "org.msb.Registry",
    .attributes = {{"registry", SECRET_SCHEMA_ATTRIBUTE_STRING}, {"home", SECRET_SCHEMA_ATTRIBUTE_STRING}},
};

/* NULL if it is not there, or not as it should be. */
static const Library *
load_library(void)
{
    static gsize loaded;
    static Library library;
    static const struct {
        const char *name;
        gsize offset;
    } symbols[] = {
        {"secret_service_get_sync", offsetof(Library, get_service)},
        {"secret_service_store_sync", offsetof(Library, store)},
        {"secret_service_lookup_sync", offsetof(Library, lookup)},
        {"secret_service_clear_sync", offsetof(Library, clear)},
        {"secret_value_new", offsetof(Library, value_new)},
        {"secret_value_get_text", offsetof(Library, value_get_text)},
        {"secret_value_unref", offsetof(Library, value_unref)},
    };

    if (g_once_init_enter(&loaded)) {
        /* For good: GObject types cannot be unloaded. */
        void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        gsize good = handle ? 1 : 2;

        for (guint i = 0; i < G_N_ELEMENTS(symbols) && good == 1; i++) {
            void *symbol = dlsym(handle, symbols[i].name);

            memcpy((char *)&library + symbols[i].offset, &symbol, sizeof symbol);
            good = symbol ? 1 : 2;
        }
        g_once_init_leave(&loaded, good);
    }
    return loaded == 1 ? &library : NULL;
}

/* ---- patience ----------------------------------------------------------------------------------- */

/* A cancellable that follows another one, and is cancelled when the time is over. */
typedef struct {
    GCancellable *cancellable, *outer;
    gulong handler;
    GThread *thread;
    GMutex lock;
    GCond changed;
    gboolean over, expired;
} Patience;

static gpointer
watch_clock(gpointer data)
{
    Patience *patience = data;
    gint64 end = g_get_monotonic_time() + PATIENCE_SECONDS * G_TIME_SPAN_SECOND;

    g_mutex_lock(&patience->lock);
    while (!patience->over && !patience->expired)
        patience->expired = !g_cond_wait_until(&patience->changed, &patience->lock, end);
    g_mutex_unlock(&patience->lock);
    if (patience->expired)
        g_cancellable_cancel(patience->cancellable);
    return NULL;
}

static void
follow(GCancellable *outer G_GNUC_UNUSED, gpointer data)
{
    g_cancellable_cancel(data);
}

static void
patience_begin(Patience *patience, GCancellable *outer)
{
    *patience = (Patience){.cancellable = g_cancellable_new(), .outer = outer};
    g_mutex_init(&patience->lock);
    g_cond_init(&patience->changed);
    if (outer)
        patience->handler = g_cancellable_connect(outer, G_CALLBACK(follow), g_object_ref(patience->cancellable),
                                                  g_object_unref);
    patience->thread = g_thread_new("patience", watch_clock, patience);
}

/* error: of what was waited for; an operation that was cancelled because of the clock says so. */
static void
patience_end(Patience *patience, GError **error)
{
    g_mutex_lock(&patience->lock);
    patience->over = TRUE;
    g_cond_signal(&patience->changed);
    g_mutex_unlock(&patience->lock);
    g_thread_join(patience->thread);
    if (patience->outer)
        g_cancellable_disconnect(patience->outer, patience->handler);
    g_object_unref(patience->cancellable);
    g_mutex_clear(&patience->lock);
    g_cond_clear(&patience->changed);
    if (patience->expired && error && *error) {
        g_clear_error(error);
        g_set_error(error, MSB_ERROR, MSB_ERROR_TIMEOUT, "it does not answer within %d seconds", PATIENCE_SECONDS);
    }
}

/* ---- the service --------------------------------------------------------------------------------- */

static SecretService *
connect_to_service(const Library *library, GCancellable *cancellable, GError **error)
{
    if (library)
        return library->get_service(SECRET_SERVICE_OPEN_SESSION, cancellable, error);
    g_set_error(error, MSB_ERROR, MSB_ERROR_UNSUPPORTED, "%s cannot be loaded", LIBRARY);
    return NULL;
}

gboolean
msb_secret_is_available(GCancellable *cancellable)
{
    const Library *library = load_library();
    g_autoptr(GObject) service = NULL;
    Patience patience;

    if (!library)
        return FALSE;
    patience_begin(&patience, cancellable);
    service = (GObject *)connect_to_service(library, patience.cancellable, NULL);
    patience_end(&patience, NULL);
    return service != NULL;
}

static GHashTable *
attributes_of(MsbHome *home, const char *host)
{
    GHashTable *attributes = g_hash_table_new(g_str_hash, g_str_equal);

    g_hash_table_insert(attributes, (gpointer)"registry", (gpointer)host);
    g_hash_table_insert(attributes, (gpointer)"home", (gpointer)msb_home_get_path(home));
    return attributes;
}

/* Say what was to be done; errors of libsecret and D-Bus become ours. */
static gboolean
end(Patience *patience, const char *what, const char *host, GError *local, GError **error)
{
    patience_end(patience, &local);
    if (!local)
        return TRUE;
    if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_dbus_error_strip_remote_error(local);
    msb_error_set(error, MSB_ERROR_FAILED, "the Secret Service cannot %s the password for registry '%s': %s", what,
                  host, local->message);
    g_error_free(local);
    return FALSE;
}

gboolean
msb_secret_store(MsbHome *home, const char *host, const char *username, const char *password,
                 GCancellable *cancellable, GError **error)
{
    const Library *library = load_library();
    g_autoptr(GHashTable) attributes = attributes_of(home, host);
    g_autofree char *label = g_strdup_printf("msb: '%s' at registry '%s'", username, host);
    g_autoptr(GObject) service = NULL;
    GError *local = NULL;
    Patience patience;

    patience_begin(&patience, cancellable);
    service = (GObject *)connect_to_service(library, patience.cancellable, &local);
    if (service) {
        SecretValue *value = library->value_new(password, -1, "text/plain");

        library->store((SecretService *)service, &schema, attributes, SECRET_COLLECTION_DEFAULT, label, value,
                       patience.cancellable, &local);
        library->value_unref(value);
    }
    return end(&patience, "keep", host, local, error);
}

char *
msb_secret_lookup(MsbHome *home, const char *host, GCancellable *cancellable, GError **error)
{
    const Library *library = load_library();
    g_autoptr(GHashTable) attributes = attributes_of(home, host);
    g_autoptr(GObject) service = NULL;
    SecretValue *value = NULL;
    char *password = NULL;
    GError *local = NULL;
    Patience patience;

    patience_begin(&patience, cancellable);
    service = (GObject *)connect_to_service(library, patience.cancellable, &local);
    if (service)
        value = library->lookup((SecretService *)service, &schema, attributes, patience.cancellable, &local);
    if (!end(&patience, "give", host, local, error))
        return NULL;
    if (value) {
        password = g_strdup(library->value_get_text(value));
        library->value_unref(value);
    }
    if (!password)
        msb_error_set(error, MSB_ERROR_NOT_FOUND, "the Secret Service has no password for registry '%s' any more",
                      host);
    return password;
}

gboolean
msb_secret_remove(MsbHome *home, const char *host, GCancellable *cancellable, GError **error)
{
    const Library *library = load_library();
    g_autoptr(GHashTable) attributes = attributes_of(home, host);
    g_autoptr(GObject) service = NULL;
    GError *local = NULL;
    Patience patience;

    patience_begin(&patience, cancellable);
    service = (GObject *)connect_to_service(library, patience.cancellable, &local);
    if (service)
        library->clear((SecretService *)service, &schema, attributes, patience.cancellable, &local);
    return end(&patience, "forget", host, local, error);
}

#else /* !HAVE_LIBSECRET */

static gboolean
unsupported(const char *host, GError **error)
{
    return msb_error_set(error, MSB_ERROR_UNSUPPORTED,
                         "the password for registry '%s' belongs into the Secret Service, for which msb was built "
                         "without libsecret", host);
}

gboolean
msb_secret_is_available(GCancellable *cancellable G_GNUC_UNUSED)
{
    return FALSE;
}

gboolean
msb_secret_store(MsbHome *home G_GNUC_UNUSED, const char *host, const char *username G_GNUC_UNUSED,
                 const char *password G_GNUC_UNUSED, GCancellable *cancellable G_GNUC_UNUSED, GError **error)
{
    return unsupported(host, error);
}

char *
msb_secret_lookup(MsbHome *home G_GNUC_UNUSED, const char *host, GCancellable *cancellable G_GNUC_UNUSED,
                  GError **error)
{
    unsupported(host, error);
    return NULL;
}

gboolean
msb_secret_remove(MsbHome *home G_GNUC_UNUSED, const char *host, GCancellable *cancellable G_GNUC_UNUSED,
                  GError **error)
{
    return unsupported(host, error);
}

#endif
