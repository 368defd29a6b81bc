/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users, groups and environments out of hostile text. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ag.h"
#include "tap.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
                             "broken\n"
                             "::::::\n"
                             "neg:x:-1:0::/:\n"
                             "huge:x:4294967295:0::/:\n"
                             "wide:x:99999999999999999999:0::/:\n"
                             "app:x:1000:1000:An app:/home/app:/bin/sh\n"
                             "2000:x:77:78:a name that is a number:/n:/bin/n\n"
                             "short:x:12:13\n"
                             "app:x:5:5:shadowed:/wrong:/wrong\n"
                             "last:x:3:4::/last:/bin/last";
static const char group[] = "root:x:0:\n"
                            "app:x:1000:\n"
                            "docker:x:200:root,app,apprentice\n"
                            "wheel:x:10:apprentice\n"
                            "audio:x:29:other,app\n"
                            "bad:x:abc:app\n"
                            "1234:x:55:\n"
                            "none:x:1";

static void
expect(const char *spec, int r, uint32_t uid, uint32_t gid, size_t groups, const char *home)
{
    struct ag_user u;
    const char *bad = NULL;
    int got = ag_user_lookup(passwd, group, spec, &u, &bad);

    ok(got == r && (r < 0 || (u.uid == uid && u.gid == gid && u.n_groups == groups)), "user \"%s\"", spec);
    if (r == 0 && got == 0)
        eq_str(u.home, home, "  and its home");
    else if (r < 0)
        eq_str(bad, home, "  and which part is unknown");
    if (got == 0)
        ag_user_clear(&u);
}

static void
test_users(void)
{
    struct ag_user u;
    const char *bad;

    expect("", 0, 0, 0, 2, "/root");
    expect("root", 0, 0, 0, 2, "/root");
    expect("app", 0, 1000, 1000, 3, "/home/app");
    expect("1000", 0, 1000, 1000, 3, "/home/app");
    expect("app:wheel", 0, 1000, 10, 0, "/home/app");
    expect("app:77", 0, 1000, 77, 0, "/home/app");
    expect("4242", 0, 4242, 0, 0, NULL);
    expect("4242:audio", 0, 4242, 29, 0, NULL);
    expect("4242:4343", 0, 4242, 4343, 0, NULL);
    expect("2000", 0, 77, 78, 1, "/n");
    expect("0:1234", 0, 0, 55, 0, "/root");
    expect("short", 0, 12, 13, 1, NULL);
    expect("last", 0, 3, 4, 1, "/last");
    expect(":app", 0, 0, 1000, 0, "/root");
    expect("nobody", -ENOENT, 0, 0, 0, "nobody");
    expect("neg", -ENOENT, 0, 0, 0, "neg");
    expect("huge", -ENOENT, 0, 0, 0, "huge");
    expect("4294967295", -ENOENT, 0, 0, 0, "4294967295");
    expect("-1", -ENOENT, 0, 0, 0, "-1");
    expect("app:nogroup", -ENOENT, 0, 0, 0, "nogroup");
    expect("app:bad", -ENOENT, 0, 0, 0, "bad");
    expect("app:1:2", -ENOENT, 0, 0, 0, "1:2");
    expect("broken", -ENOENT, 0, 0, 0, "broken");
    eq_int(ag_user_lookup("", "", "", &u, &bad), 0, "an image without /etc/passwd has a root");
    ok(u.uid == 0 && u.gid == 0 && !u.name && !u.home, "with nothing known of it");
    ag_user_clear(&u);
}

static void
test_env(void)
{
    struct ag_env env = { 0 };

    eq_int(ag_env_put(&env, "A=1"), 0, "put");
    eq_int(ag_env_put(&env, "AB=2"), 0, "put another");
    eq_int(ag_env_put(&env, "A=3"), 0, "put again");
    eq_int(env.n, 2, "a name occurs once");
    eq_str(ag_env_get(&env, "A"), "3", "the later one counts");
    eq_str(ag_env_get(&env, "AB"), "2", "names are compared whole");
    eq_int(ag_env_set(&env, "E", "x=y"), 0, "set");
    eq_str(ag_env_get(&env, "E"), "x=y", "a value may hold '='");
    eq_str(ag_env_get(&env, "B"), NULL, "unknown");
    eq_int(ag_env_put(&env, "NOTHING"), -EINVAL, "an entry without '='");
    eq_int(ag_env_put(&env, "=v"), -EINVAL, "an entry without a name");
    ok(env.v[env.n] == NULL, "the list is terminated");
    ag_env_clear(&env);
}

int
main(void)
{
    test_users();
    test_env();
    return tap_done();
}
