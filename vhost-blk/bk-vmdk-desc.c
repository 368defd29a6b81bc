/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of a descriptor:
 *
 *   # Disk DescriptorFile
 *   CID=fffffffe
 *   parentCID=ffffffff
 *   createType="twoGbMaxExtentFlat"
 *   RW 4192256 FLAT "disk-f001.vmdk" 0
 *
 * One statement to a line; what is not known (geometry, tools) is passed over.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bk-vmdk-priv.h"

/* A line, cut up in place. */
struct cursor {
    const char *p, *end;
};

static int
bad(const char *path, struct bk_err *err, const char *field)
{
    return bk_fail(err, -EINVAL, "\"%s\": not a usable VMDK descriptor: %s", path, field);
}

static void
skip_blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
        c->p++;
}

/* The next word, up to a blank; false when there is none or it does not fit. */
static bool
take_word(struct cursor *c, char *word, size_t size)
{
    size_t n = 0;

    skip_blanks(c);
    while (c->p < c->end && *c->p != ' ' && *c->p != '\t') {
        if (n + 1 >= size)
            return false;
        word[n++] = *c->p++;
    }
    word[n] = '\0';
    return n > 0;
}

static bool
take_quoted(struct cursor *c, char *text, size_t size)
{
    size_t n = 0;

    skip_blanks(c);
    if (c->p == c->end || *c->p++ != '"')
        return false;
    while (c->p < c->end && *c->p != '"') {
        if (n + 1 >= size || *c->p == '\0')
            return false;
        text[n++] = *c->p++;
    }
    text[n] = '\0';
    return c->p < c->end && *c->p++ == '"';
}

static bool
take_number(struct cursor *c, uint64_t *value)
{
    char word[24], *end;

    if (!take_word(c, word, sizeof(word)) || word[0] < '0' || word[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(word, &end, 10);
    return errno == 0 && *end == '\0';
}

/* The value of "KEY=" at the beginning of the line. */
static bool
starts_with(struct cursor *c, const char *key)
{
    size_t n = strlen(key);

    if ((size_t)(c->end - c->p) < n || strncasecmp(c->p, key, n) != 0)
        return false;
    c->p += n;
    return true;
}

static bool
parse_cid(const struct cursor *c, uint32_t *cid)
{
    char digits[9] = "";
    size_t n = (size_t)(c->end - c->p);
    char *end;

    if (n == 0 || n > 8)
        return false;
    memcpy(digits, c->p, n);
    *cid = (uint32_t)strtoul(digits, &end, 16);
    return *end == '\0' && digits[0] != '-' && digits[0] != '+' && digits[0] != ' ';
}

/* A file of the descriptor's own directory, and no way out of it. */
static bool
is_plain_name(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int
parse_type(const char *path, const char *word, enum vmdk_type *type, struct bk_err *err)
{
    if (strcasecmp(word, "FLAT") == 0 || strcasecmp(word, "VMFS") == 0)
        *type = VMDK_FLAT;
    else if (strcasecmp(word, "SPARSE") == 0)
        *type = VMDK_SPARSE;
    else if (strcasecmp(word, "ZERO") == 0)
        *type = VMDK_ZERO;
    else
        return bk_fail(err, -ENOTSUP, "\"%s\": VMDK extents of type %s are not supported", path, word);
    return 0;
}

/* What follows RW, RDONLY or NOACCESS. */
static int
parse_extent(const char *path, struct cursor *c, enum vmdk_access access, struct vmdk_descriptor *d, struct bk_err *err)
{
    struct vmdk_extent_line *line;
    char word[24];
    int rc;

    if (d->n_lines == VMDK_MAX_EXTENTS)
        return bk_fail(err, -E2BIG, "\"%s\": the VMDK has more than %d extents", path, VMDK_MAX_EXTENTS);
    if (!d->lines)
        d->lines = calloc(VMDK_MAX_EXTENTS, sizeof(*d->lines));
    if (!d->lines)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
    line = &d->lines[d->n_lines];
    line->access = access;
    if (!take_number(c, &line->sectors) || line->sectors == 0 || line->sectors > VMDK_MAX_SECTORS)
        return bad(path, err, "size of an extent");
    if (!take_word(c, word, sizeof(word)))
        return bad(path, err, "type of an extent");
    rc = parse_type(path, word, &line->type, err);
    if (rc < 0)
        return rc;
    if (line->type != VMDK_ZERO && !take_quoted(c, line->name, sizeof(line->name)))
        return bad(path, err, "file name of an extent");
    if (line->type != VMDK_ZERO && !is_plain_name(line->name))
        return bk_fail(err, -EINVAL, "\"%s\": the extent \"%s\" is not a file of the descriptor's own directory", path,
                       line->name);
    skip_blanks(c);
    if (line->type == VMDK_FLAT && c->p < c->end &&
        (!take_number(c, &line->offset) || line->offset > VMDK_MAX_SECTORS))
        return bad(path, err, "offset of a flat extent");
    d->n_lines++;
    return 0;
}

static int
parse_line(const char *path, const char *text, struct cursor c, struct vmdk_descriptor *d, struct bk_err *err)
{
    static const char *const words[] = {[VMDK_RW] = "RW ", [VMDK_RDONLY] = "RDONLY ", [VMDK_NOACCESS] = "NOACCESS "};

    skip_blanks(&c);
    for (unsigned i = 0; i < MB_ARRAY_SIZE(words); i++) {
        if (starts_with(&c, words[i]))
            return parse_extent(path, &c, (enum vmdk_access)i, d, err);
    }
    if (starts_with(&c, "CID=")) {
        if (!parse_cid(&c, &d->cid))
            return bad(path, err, "CID");
        d->cid_at = (size_t)(c.p - text);
        d->cid_digits = (int)(c.end - c.p);
    } else if (starts_with(&c, "parentCID=")) {
        if (!parse_cid(&c, &d->parent_cid))
            return bad(path, err, "parentCID");
    } else if (starts_with(&c, "createType=")) {
        if (!take_quoted(&c, d->type, sizeof(d->type)))
            return bad(path, err, "createType");
    } else if (starts_with(&c, "parentFileNameHint=")) {
        if (!take_quoted(&c, d->parent, sizeof(d->parent)))
            return bad(path, err, "parentFileNameHint");
    }
    return 0;
}

int
vmdk_parse_descriptor(const char *path, const char *text, size_t n, struct vmdk_descriptor *d, struct bk_err *err)
{
    const char *end = memchr(text, '\0', n), *next;
    int rc = 0;

    *d = (struct vmdk_descriptor){.parent_cid = VMDK_NO_PARENT};
    /* An embedded one is padded with NULs. */
    end = end ? end : text + n;
    for (const char *p = text; rc == 0 && p < end; p = next) {
        struct cursor c = {.p = p};

        next = memchr(p, '\n', (size_t)(end - p));
        c.end = next ? next : end;
        next = next ? next + 1 : end;
        if (c.end > p && c.end[-1] == '\r')
            c.end--;
        rc = parse_line(path, text, c, d, err);
    }
    return rc;
}
