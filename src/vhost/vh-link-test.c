/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layers below the back-ends need libc and nothing else.  This program
 * takes in all of src/base (but confinement), src/proto and src/vhost
 * (--whole-archive) and links without default libraries but libc: whoever adds
 * a dependency there finds that it does not link.  It is a test as well: run,
 * it looks at what it depends on.
 */
#include <config.h>

#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vh-msg.h"

static const char *const allowed[] = {"libc.so", "ld-linux", "linux-vdso", "libpthread.so",
                                      /* what a sanitizer build brings */
                                      "libasan.so", "libubsan.so", "libtsan.so", "liblsan.so", "libm.so",
                                      "libdl.so", "libstdc++.so", "libgcc_s.so", "librt.so"};

static int count, failures;

static void
tell(bool good, const char *what, const char *name)
{
    printf("%sok %d - %s%s\n", good ? "" : "not ", ++count, what, name);
    failures += !good;
}

static int
check_object(struct dl_phdr_info *info, size_t size, void *data)
{
    const char *name = strrchr(info->dlpi_name, '/') ? strrchr(info->dlpi_name, '/') + 1 : info->dlpi_name;
    bool good = *name == '\0';
    unsigned i;

    for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        good = good || strncmp(name, allowed[i], strlen(allowed[i])) == 0;
    tell(good, "of libc, the compiler, or ourselves: ", *name ? name : "the program");
    return 0;
}

int
main(void)
{
    dl_iterate_phdr(check_object, NULL);
    tell(strcmp(vh_request_name(VH_GET_FEATURES), "GET_FEATURES") == 0, "linked in: ", "the transport");
    printf("1..%d\n", count);
    return failures > 0;
}
