/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Users and groups from the text of the guest's /etc/passwd and /etc/group.
 * Written by whoever made the image: a line that is not well formed is skipped,
 * nothing is assumed of the rest.  No NSS: the agent is static.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ag.h"
#include "mb-cleanup.h"

/* The kernel's own limit. */
#define GROUPS_MAX 65536u

/* A field of a line, not terminated. */
struct field {
    const char *p;
    size_t n;
};

/* Cut the next line of *text into at most max fields at ':'; how many there were, or -1 at the end. */
static int
next_line(const char **text, struct field *f, int max)
{
    const char *p = *text, *end;
    int n = 0;

    if (*p == '\0')
        return -1;
    end = p + strcspn(p, "\n");
    *text = *end ? end + 1 : end;
    while (n < max) {
        size_t k = 0;

        while (p + k < end && p[k] != ':')
            k++;
        f[n].p = p;
        f[n].n = k;
        n++;
        p += k;
        if (p == end)
            break;
        p++;
    }
    return n;
}

static bool
field_is(struct field f, const char *s)
{
    return f.n == strlen(s) && memcmp(f.p, s, f.n) == 0;
}

static bool
field_id(struct field f, uint32_t *id)
{
    char buf[16];

    if (f.n >= sizeof(buf))
        return false;
    memcpy(buf, f.p, f.n);
    buf[f.n] = '\0';
    return ag_parse_id(buf, id);
}

/* The passwd line with this name, or without one with this number. */
static bool
find_passwd(const char *text, const char *name, uint32_t number, struct field f[7], uint32_t *uid,
            uint32_t *gid)
{
    int n;

    while ((n = next_line(&text, f, 7)) >= 0) {
        if (n < 4 || f[0].n == 0 || !field_id(f[2], uid) || !field_id(f[3], gid))
            continue;
        for (int i = n; i < 7; i++)
            f[i] = (struct field){ "", 0 };
        if (name ? field_is(f[0], name) : *uid == number)
            return true;
    }
    return false;
}

static bool
find_group(const char *text, const char *name, uint32_t *gid)
{
    struct field f[4];
    int n;

    while ((n = next_line(&text, f, 4)) >= 0) {
        if (n >= 3 && field_is(f[0], name) && field_id(f[2], gid))
            return true;
    }
    return false;
}

static bool
is_member(struct field list, const char *name)
{
    size_t n = strlen(name), start = 0;

    for (size_t i = 0; i <= list.n; i++) {
        if (i == list.n || list.p[i] == ',') {
            if (i - start == n && memcmp(list.p + start, name, n) == 0)
                return true;
            start = i + 1;
        }
    }
    return false;
}

/* The groups that list the user, and the primary one. */
static int
collect_groups(const char *text, struct ag_user *u)
{
    struct field f[4];
    int n;

    u->groups = malloc(sizeof(*u->groups));
    if (!u->groups)
        return -ENOMEM;
    u->groups[u->n_groups++] = u->gid;
    while ((n = next_line(&text, f, 4)) >= 0) {
        uint32_t gid;
        gid_t *p;

        if (n < 4 || !field_id(f[2], &gid) || gid == u->gid || !is_member(f[3], u->name))
            continue;
        if (u->n_groups >= GROUPS_MAX)
            break;
        p = realloc(u->groups, (u->n_groups + 1) * sizeof(*p));
        if (!p)
            return -ENOMEM;
        u->groups = p;
        u->groups[u->n_groups++] = gid;
    }
    return 0;
}

static int
copy_field(char **to, struct field f)
{
    *to = f.n > 0 ? strndup(f.p, f.n) : NULL;
    return f.n > 0 && !*to ? -ENOMEM : 0;
}

/* The user part: by name first, then as a number. */
static int
lookup_user(const char *passwd, const char *spec, struct ag_user *u)
{
    struct field f[7];
    uint32_t uid, gid, number;

    if (!find_passwd(passwd, spec, 0, f, &uid, &gid)) {
        if (!ag_parse_id(spec, &number))
            return -ENOENT;
        if (!find_passwd(passwd, NULL, number, f, &uid, &gid)) {
            u->uid = number;
            u->gid = 0;
            return 0;
        }
    }
    u->uid = uid;
    u->gid = gid;
    if (copy_field(&u->name, f[0]) < 0 || copy_field(&u->home, f[5]) < 0 || copy_field(&u->shell, f[6]) < 0)
        return -ENOMEM;
    return 0;
}

int
ag_user_lookup(const char *passwd, const char *group, const char *spec, struct ag_user *u, const char **bad)
{
    const char *colon = strchr(spec, ':');
    const char *group_spec = colon ? colon + 1 : "";
    mb_autofree char *user_spec = strndup(spec, colon ? (size_t)(colon - spec) : strlen(spec));
    uint32_t gid;
    int r;

    memset(u, 0, sizeof(*u));
    if (!user_spec)
        return -ENOMEM;
    *bad = spec;
    r = lookup_user(passwd, user_spec[0] ? user_spec : "0", u);
    if (r == 0 && group_spec[0]) {
        if (find_group(group, group_spec, &gid) || ag_parse_id(group_spec, &gid)) {
            u->gid = gid;
        } else {
            *bad = group_spec;
            r = -ENOENT;
        }
    } else if (r == 0 && u->name) {
        r = collect_groups(group, u);
    }
    if (r < 0)
        ag_user_clear(u);
    return r;
}

void
ag_user_clear(struct ag_user *u)
{
    free(u->groups);
    free(u->name);
    free(u->home);
    free(u->shell);
    memset(u, 0, sizeof(*u));
}
