/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Credentials, see msb-credentials.h.  What docker and podman have ("auths",
 * "credHelpers", "credsStore") is read, never written.  Docker Hub has several
 * names there; all mean docker.io.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-credentials.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-process.h"
#include "msb-secret.h"

#define HELPER_TIMEOUT_MS 30000  /* it may ask its user to unlock something */
#define CONFIG_MAX (4 * 1024 * 1024)

static const char *const hub_names[] = {
    "docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io", NULL,
};

void
msb_credentials_free(MsbCredentials *credentials)
{
    g_free(credentials->username);
    msb_secret_free(credentials->password);
    g_free(credentials->origin);
    g_free(credentials);
}

MsbCredentials *
msb_credentials_new(const char *username, const char *password, const char *origin)
{
    MsbCredentials *credentials = g_new0(MsbCredentials, 1);

    credentials->username = g_strdup(username);
    credentials->password = g_strdup(password);
    credentials->origin = g_strdup(origin);
    return credentials;
}

/* ---- docker's and podman's files ---------------------------------------------------------- */

/* The names under which a host may be filed. */
static GPtrArray *
names_of(const char *host)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    guint i;

    g_ptr_array_add(names, g_strdup(host));
    g_ptr_array_add(names, g_strconcat("https://", host, NULL));
    g_ptr_array_add(names, g_strconcat("http://", host, NULL));
    for (i = 0; strcmp(host, "docker.io") == 0 && hub_names[i]; i++)
        g_ptr_array_add(names, g_strdup(hub_names[i]));
    return names;
}

/* A file without a name that has this text, to be read from its beginning; -1 with error. */
static int
input_of(const char *text, GError **error)
{
    mb_autofd int fd = memfd_create("msb-input", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : mb_write_full(fd, text, strlen(text));

    if (r < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        msb_error_set_errno(error, r < 0 ? -r : errno, "input of a credential helper");
        return -1;
    }
    return mb_steal_fd(&fd);
}

/* `docker-credential-NAME get` reads the server on stdin and prints {"Username", "Secret"}. */
static gboolean
ask_helper(const char *helper, const char *server, MsbCredentials **found, GError **error)
{
    g_autofree char *name = g_strconcat("docker-credential-", helper, NULL);
    g_autofree char *program = strchr(helper, '/') ? NULL : g_find_program_in_path(name);
    const char *argv[] = { program, "get", NULL };
    g_autoptr(GError) local = NULL;
    mb_autofd int input = -1;
    g_autofree char *out = NULL;
    g_autoptr(JsonNode) root = NULL;
    const char *username, *secret;
    MsbJsonReader reader;

    if (!program)
        return msb_error_set(error, MSB_ERROR_NOT_FOUND, "the credential helper '%s' is not in PATH", name);
    input = input_of(server, error);
    if (input < 0)
        return FALSE;
    if (!msb_process_run_with_input(argv, input, HELPER_TIMEOUT_MS, &out, &local)) {
        if (g_error_matches(local, MSB_ERROR, MSB_ERROR_FAILED))
            return TRUE;        /* it has nothing for this server */
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    root = msb_json_parse(name, out, strlen(out), error);
    if (!root)
        return FALSE;
    msb_json_reader_begin(&reader, root, name);
    msb_json_reader_allow_unknown(&reader);
    username = msb_json_get_string(&reader, "Username");
    secret = msb_json_get_string(&reader, "Secret");
    if (username && secret)
        *found = msb_credentials_new(username, secret, name);
    return msb_json_reader_end(&reader, error);
}

/* {"auth": base64 of "user:password", "identitytoken": ...}. */
static gboolean
parse_auth(JsonNode *node, const char *path, MsbCredentials **found, GError **error)
{
    const char *auth, *identity;
    MsbJsonReader reader;

    msb_json_reader_begin(&reader, node, path);
    msb_json_reader_allow_unknown(&reader);
    auth = msb_json_get_string(&reader, "auth");
    identity = msb_json_get_string(&reader, "identitytoken");
    if (identity && *identity) {
        *found = msb_credentials_new("<token>", identity, path);
    } else if (auth && *auth) {
        gsize length;
        g_autofree guchar *raw = g_base64_decode(auth, &length);
        g_autofree char *pair = g_strndup((const char *)raw, length);
        char *colon = strchr(pair, ':');

        if (colon) {
            *colon = '\0';
            *found = msb_credentials_new(pair, colon + 1, path);
        } else {
            msb_json_reader_fail(&reader, "\"auth\" is not the base64 form of USER:PASSWORD");
        }
    }
    if (msb_json_reader_end(&reader, error))
        return TRUE;
    g_clear_pointer(found, msb_credentials_free);
    return FALSE;
}

static gboolean
find_in_auths(JsonObject *auths, GPtrArray *names, const char *path, MsbCredentials **found, GError **error)
{
    guint i;

    for (i = 0; auths && i < names->len && !*found; i++) {
        JsonNode *node = json_object_get_member(auths, g_ptr_array_index(names, i));

        if (node && !parse_auth(node, path, found, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
find_by_helper(JsonObject *helpers, const char *store, GPtrArray *names, MsbCredentials **found, GError **error)
{
    guint i;

    for (i = 0; helpers && i < names->len; i++) {
        JsonNode *node = json_object_get_member(helpers, g_ptr_array_index(names, i));

        if (node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
            return ask_helper(json_node_get_string(node), g_ptr_array_index(names, i), found, error);
    }
    for (i = 0; store && *store && i < names->len && !*found; i++) {
        if (!ask_helper(store, g_ptr_array_index(names, i), found, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
find_in_file(const char *path, const char *host, MsbCredentials **found, GError **error)
{
    g_autoptr(GPtrArray) names = names_of(host);
    g_autofree char *text = NULL;
    g_autoptr(JsonNode) root = NULL;
    JsonObject *auths, *helpers;
    MsbJsonReader reader;
    const char *store;
    gsize length;
    gboolean good;

    if (!g_file_get_contents(path, &text, &length, NULL))
        return TRUE;
    if (length > CONFIG_MAX)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' is larger than 4 MiB", path);
    root = msb_json_parse(path, text, length, error);
    if (!root)
        return FALSE;
    msb_json_reader_begin(&reader, root, path);
    msb_json_reader_allow_unknown(&reader);
    auths = msb_json_get_object(&reader, "auths");
    helpers = msb_json_get_object(&reader, "credHelpers");
    store = msb_json_get_string(&reader, "credsStore");
    good = find_by_helper(helpers, store, names, found, error) &&
           (*found || find_in_auths(auths, names, path, found, error));
    return msb_json_reader_end(&reader, good ? error : NULL) && good;
}

static GPtrArray *
config_files(void)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
    const char *explicit = g_getenv("REGISTRY_AUTH_FILE");
    const char *docker = g_getenv("DOCKER_CONFIG");
    const char *runtime = g_getenv("XDG_RUNTIME_DIR");

    if (explicit && *explicit)
        g_ptr_array_add(files, g_strdup(explicit));
    g_ptr_array_add(files, docker && *docker ? g_build_filename(docker, "config.json", NULL)
                                             : g_build_filename(g_get_home_dir(), ".docker", "config.json", NULL));
    if (runtime && *runtime)
        g_ptr_array_add(files, g_build_filename(runtime, "containers", "auth.json", NULL));
    g_ptr_array_add(files, g_build_filename(g_get_user_config_dir(), "containers", "auth.json", NULL));
    return files;
}

gboolean
msb_credentials_find(MsbHome *home, const char *host, GCancellable *cancellable, MsbCredentials **found, GError **error)
{
    g_autoptr(GPtrArray) files = config_files();
    guint i;

    *found = NULL;
    if (!msb_credentials_find_kept(home, host, cancellable, found, error))
        return FALSE;
    for (i = 0; i < files->len && !*found; i++) {
        if (!find_in_file(g_ptr_array_index(files, i), host, found, error))
            return FALSE;
    }
    return TRUE;
}
