/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Image references: see the header.  The grammar is that of the distribution specification. */
#include <config.h>

#include <string.h>

#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image.h"
#include "msb-reference.h"

#define DEFAULT_REGISTRY "docker.io"
#define NAME_MAX_LENGTH 255
#define TAG_MAX_LENGTH 128
#define ALNUM "abcdefghijklmnopqrstuvwxyz0123456789"
#define ALNUM_UPPER ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

void
msb_reference_free(MsbReference *reference)
{
    if (!reference)
        return;
    g_free(reference->registry);
    g_free(reference->repository);
    g_free(reference->tag);
    g_free(reference->digest);
    g_free(reference);
}

/* The first component is a registry if it looks like a host: a dot, a port, capitals, or "localhost". */
static gboolean
is_registry(const char *text, gsize length)
{
    if (length == strlen("localhost") && memcmp(text, "localhost", length) == 0)
        return TRUE;
    for (gsize i = 0; i < length; i++) {
        if (text[i] == '.' || text[i] == ':' || text[i] == '[' || g_ascii_isupper(text[i]))
            return TRUE;
    }
    return FALSE;
}

static gboolean
valid_port(const char *port)
{
    gsize length = strlen(port);

    return length >= 1 && length <= 5 && strspn(port, "0123456789") == length;
}

static gboolean
valid_registry(const char *registry)
{
    gsize host;

    if (registry[0] == '[') {
        host = 1 + strspn(registry + 1, "0123456789abcdefABCDEF:.");
        if (host < 3 || registry[host] != ']')
            return FALSE;
        host++;
    } else {
        host = strspn(registry, ALNUM_UPPER ".-");
        if (host == 0 || registry[0] == '.' || registry[0] == '-' || registry[host - 1] == '.' ||
            registry[host - 1] == '-' || memmem(registry, host, "..", 2))
            return FALSE;
    }
    return registry[host] == '\0' || (registry[host] == ':' && valid_port(registry + host + 1));
}

/* Runs of lower-case letters and digits, separated by one of ".", "_", "__" or any number of "-". */
static gboolean
valid_component(const char *text, gsize length)
{
    gsize i = 0;

    while (i < length) {
        gsize run = 0, separator = 0;

        while (i + run < length && strchr(ALNUM, text[i + run]))
            run++;
        if (run == 0)
            return FALSE;
        i += run;
        if (i == length)
            return TRUE;
        while (i + separator < length && text[i + separator] == text[i] && strchr("._-", text[i]))
            separator++;
        if (separator == 0 || (text[i] == '.' && separator > 1) || (text[i] == '_' && separator > 2))
            return FALSE;
        i += separator;
    }
    return FALSE;
}

static gboolean
valid_repository(const char *repository)
{
    const char *p = repository;

    for (;;) {
        gsize length = strcspn(p, "/");

        if (!valid_component(p, length))
            return FALSE;
        if (p[length] == '\0')
            return TRUE;
        p += length + 1;
    }
}

static gboolean
valid_tag(const char *tag)
{
    gsize length = strlen(tag);

    return length >= 1 && length <= TAG_MAX_LENGTH && tag[0] != '.' && tag[0] != '-' &&
           strspn(tag, ALNUM_UPPER "_.-") == length;
}

static MsbReference *
invalid(const char *text, const char *reason, GError **error)
{
    g_autofree char *shown = g_utf8_make_valid(text, -1);

    msb_error_set(error, MSB_ERROR_INVALID, "image reference '%s': %s", shown, reason);
    return NULL;
}

/* name: without tag and digest. */
static void
set_name(MsbReference *reference, const char *name)
{
    const char *slash = strchr(name, '/');

    if (slash && is_registry(name, (gsize)(slash - name))) {
        reference->registry = g_strndup(name, (gsize)(slash - name));
        name = slash + 1;
        if (strcmp(reference->registry, "index.docker.io") == 0) {
            g_free(reference->registry);
            reference->registry = g_strdup(DEFAULT_REGISTRY);
        }
    } else {
        reference->registry = g_strdup(DEFAULT_REGISTRY);
    }
    if (strcmp(reference->registry, DEFAULT_REGISTRY) == 0 && !strchr(name, '/'))
        reference->repository = g_strconcat("library/", name, NULL);
    else
        reference->repository = g_strdup(name);
}

MsbReference *
msb_reference_parse(const char *text, GError **error)
{
    g_autoptr(MsbReference) reference = g_new0(MsbReference, 1);
    g_autofree char *name = NULL;
    const char *at = strchr(text, '@');
    char *slash, *colon;

    if (text[0] == '\0')
        return invalid(text, "it is empty", error);
    if (at) {
        if (!msb_digest_is_valid(at + 1))
            return invalid(text, "after '@' there must be sha256: and 64 lower-case hexadecimal digits",
                           error);
        reference->digest = g_strdup(at + 1);
    }
    name = at ? g_strndup(text, (gsize)(at - text)) : g_strdup(text);
    slash = strrchr(name, '/');
    colon = strchr(slash ? slash : name, ':');
    if (colon) {
        reference->tag = g_strdup(colon + 1);
        *colon = '\0';
        if (!valid_tag(reference->tag))
            return invalid(text, "a tag is 1 to 128 of A-Z a-z 0-9 _ . - and does not begin with . or -",
                           error);
    } else if (!at) {
        reference->tag = g_strdup("latest");
    }
    set_name(reference, name);
    if (strlen(reference->registry) > NAME_MAX_LENGTH || strlen(reference->repository) > NAME_MAX_LENGTH)
        return invalid(text, "the name is longer than 255 bytes", error);
    if (!valid_registry(reference->registry))
        return invalid(text, "what is before the first '/' is not a host name with an optional port", error);
    if (!valid_repository(reference->repository))
        return invalid(text, "a name has lower-case letters, digits, and between them . _ or -", error);
    return g_steal_pointer(&reference);
}

char *
msb_reference_dup_name(const MsbReference *reference)
{
    return g_strconcat(reference->registry, "/", reference->repository, reference->tag ? ":" : NULL,
                       reference->tag, NULL);
}

char *
msb_reference_to_string(const MsbReference *reference)
{
    g_autofree char *name = msb_reference_dup_name(reference);

    return g_strconcat(name, reference->digest ? "@" : NULL, reference->digest, NULL);
}

char *
msb_reference_normalize(const char *text, GError **error)
{
    g_autoptr(MsbReference) reference = msb_reference_parse(text, error);

    return reference ? msb_reference_to_string(reference) : NULL;
}
