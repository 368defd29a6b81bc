/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Environments: a list of K=V in which every name occurs once. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ag.h"
#include "mb-cleanup.h"

/* Index of the entry for the name of n bytes, or env->n. */
static size_t
env_find(const struct ag_env *env, const char *name, size_t n)
{
    size_t i;

    for (i = 0; i < env->n; i++) {
        if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
            break;
    }
    return i;
}

int
ag_env_put(struct ag_env *env, const char *entry)
{
    const char *eq = strchr(entry, '=');
    mb_autofree char *copy = NULL;
    size_t i;

    if (!eq || eq == entry)
        return -EINVAL;
    copy = strdup(entry);
    if (!copy)
        return -ENOMEM;
    i = env_find(env, entry, (size_t)(eq - entry));
    if (i == env->n) {
        char **v = realloc(env->v, (env->n + 2) * sizeof(*v));

        if (!v)
            return -ENOMEM;
        v[env->n] = v[env->n + 1] = NULL;
        env->v = v;
        env->n++;
    }
    free(env->v[i]);
    env->v[i] = mb_steal_ptr(&copy);
    return 0;
}

int
ag_env_set(struct ag_env *env, const char *key, const char *value)
{
    mb_autofree char *entry = NULL;

    if (asprintf(&entry, "%s=%s", key, value) < 0)
        return -ENOMEM;
    return ag_env_put(env, entry);
}

const char *
ag_env_get(const struct ag_env *env, const char *key)
{
    size_t n = strlen(key), i = env_find(env, key, n);

    return i < env->n ? env->v[i] + n + 1 : NULL;
}

void
ag_env_clear(struct ag_env *env)
{
    mp_strv_free(env->v);
    memset(env, 0, sizeof(*env));
}
