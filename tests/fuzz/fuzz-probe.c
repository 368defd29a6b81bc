/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the agent reads of a disk itself: signatures of file systems and the GUID
 * partition table.  The input is the disk.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ag.h"
#include "fuzz.h"
#include "mb-cleanup.h"
#include "mb-io.h"

#define PARTS 8u

static void
probe_table(int fd, unsigned sector_size, const char *fstype)
{
    struct ag_part parts[PARTS] = {{.number = 0}};
    uint8_t guid[16] = {0};
    unsigned n = 0;

    for (unsigned i = 0; i < 130; i++) {
        int r = ag_probe_gpt_type(fd, sector_size, i, guid);

        if (r > 0 || (r < 0 && r != -ENOENT && r != -EPROTO) || (r == 0 && i == 0))
            abort();
        if (r == 0 && n < PARTS)
            parts[n++] = (struct ag_part){i, i * 2048, i % 2 ? fstype : NULL, ag_probe_part_use(guid)};
    }
    for (unsigned root = 0; root < 2; root++) {
        int chosen = ag_probe_choose(parts, n, root);

        if (chosen >= (int)n || (chosen >= 0 && !parts[chosen].fstype))
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mb_autofd int fd = memfd_create("disk", MFD_CLOEXEC);
    const char *fstype;

    if (fd < 0 || mb_pwrite_full(fd, data, size, 0) < 0)
        abort();
    fstype = ag_probe_fs(fd);
    (void)ag_probe_other(fd);
    probe_table(fd, 512, fstype);
    probe_table(fd, 4096, fstype);
    return 0;
}
