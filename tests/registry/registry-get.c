/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * registry-get [--http] [--ca FILE] [--user NAME --password WORD] [--login | --pull [--always]] [--retries N]
 *              HOST REPOSITORY REFERENCE
 *
 * Drives the registry client for tests: prints the manifest's digest and, for every
 * digest that it names, "digest size" of the blob as it was read.  With --pull the
 * image goes into the store, and its digest and diff_ids are printed.
 */
#include <config.h>

#include <string.h>

#include "msb-error.h"
#include "msb-pull.h"
#include "msb-registry.h"

static gboolean use_http, login, pull, always;
static guint progress_calls;
static char *ca_file, *username, *password;
static int retries;

static const GOptionEntry entries[] = {
    { "http", 0, 0, G_OPTION_ARG_NONE, &use_http, "plain http", NULL },
    { "ca", 0, 0, G_OPTION_ARG_FILENAME, &ca_file, "authorities", "FILE" },
    { "user", 0, 0, G_OPTION_ARG_STRING, &username, "credentials", "NAME" },
    { "password", 0, 0, G_OPTION_ARG_STRING, &password, "credentials", "WORD" },
    { "login", 0, 0, G_OPTION_ARG_NONE, &login, "check and store the credentials", NULL },
    { "pull", 0, 0, G_OPTION_ARG_NONE, &pull, "into the store", NULL },
    { "always", 0, 0, G_OPTION_ARG_NONE, &always, "even if it is there", NULL },
    { "retries", 0, 0, G_OPTION_ARG_INT, &retries, "tries after the first", "N" },
    { NULL },
};

static gboolean
get_blob(MsbRegistry *registry, const char *repository, const char *digest, gint64 size, GError **error)
{
    g_autoptr(MsbBlob) blob = msb_registry_open_blob(registry, repository, digest, 0, size, NULL, error);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    guint8 buf[65536];
    guint64 total = 0;
    gssize n;

    if (!blob)
        return FALSE;
    while ((n = msb_blob_read(blob, buf, sizeof buf, NULL, error)) > 0) {
        g_checksum_update(checksum, buf, n);
        total += (guint64)n;
    }
    if (n < 0)
        return FALSE;
    g_print("sha256:%s %" G_GUINT64_FORMAT "\n", g_checksum_get_string(checksum), total);
    return TRUE;
}

/* Every "size" and "digest" pair of the manifest's config and layers, found textually: this is a test. */
static gboolean
get_all(MsbRegistry *registry, const char *repository, GBytes *manifest, GError **error)
{
    g_autofree char *text = g_strndup(g_bytes_get_data(manifest, NULL), g_bytes_get_size(manifest));
    static const char pattern[] = "\"size\"\\s*:\\s*(\\d+)\\s*,\\s*\"digest\"\\s*:\\s*\"(sha256:[0-9a-f]{64})\""
                                  "|\"digest\"\\s*:\\s*\"(sha256:[0-9a-f]{64})\"\\s*,\\s*\"size\"\\s*:\\s*(\\d+)";
    g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *first = g_match_info_fetch(match, 1);
        gboolean size_first = first && *first;
        g_autofree char *size = g_match_info_fetch(match, size_first ? 1 : 4);
        g_autofree char *digest = g_match_info_fetch(match, size_first ? 2 : 3);

        if (!get_blob(registry, repository, digest, g_ascii_strtoll(size, NULL, 10), error))
            return FALSE;
    }
    return TRUE;
}

static void
count_progress(const char *what, guint64 done, guint64 total, gpointer data)
{
    progress_calls++;
}

static gboolean
pull_image(MsbHome *home, char **args, GError **error)
{
    g_autofree char *reference = g_strconcat(args[0], "/", args[1], strchr(args[2], ':') ? "@" : ":", args[2], NULL);
    MsbPullOptions options = { .policy = always ? MSB_PULL_ALWAYS : MSB_PULL_IF_MISSING, .plain_http = use_http,
                               .ca_file = ca_file, .username = username, .password = password,
                               .progress = count_progress };
    g_autoptr(MsbImage) image = msb_image_pull(home, reference, &options, NULL, error);
    guint i;

    if (!image)
        return FALSE;
    g_print("%s %s\n", msb_image_get_reference(image), msb_image_get_digest(image));
    for (i = 0; i < msb_image_get_n_layers(image); i++)
        g_print("%s\n", msb_image_get_diff_id(image, i));
    g_print("progress %s\n", progress_calls ? "told" : "none");
    return TRUE;
}

static gboolean
work(MsbHome *home, char **args, GError **error)
{
    MsbRegistryOptions options = { .plain_http = use_http, .ca_file = ca_file, .username = username,
                                   .password = password, .retries = (guint)retries };
    g_autoptr(MsbRegistry) registry = msb_registry_new(home, args[0], &options, error);
    g_autofree char *media_type = NULL;
    g_autofree char *digest = NULL;
    g_autoptr(GBytes) manifest = NULL;
    MsbLoginStore store = MSB_LOGIN_AUTO;

    if (!registry)
        return FALSE;
    if (pull)
        return pull_image(home, args, error);
    if (login)
        return msb_registry_check(registry, NULL, error) &&
               msb_credentials_keep(home, args[0], username, password, &store, NULL, error);
    manifest = msb_registry_get_manifest(registry, args[1], args[2], &media_type, &digest, NULL, error);
    if (!manifest)
        return FALSE;
    g_print("manifest %s %s\n", digest, media_type);
    return get_all(registry, args[1], manifest, error);
}

int
main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new("HOST REPOSITORY REFERENCE");
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbHome) home = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 4 ||
        !(home = msb_home_open(NULL, &error)) || !work(home, argv + 1, &error)) {
        g_printerr("error: %s\n", error ? error->message : "usage");
        return 1;
    }
    return 0;
}
