/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory regions, see vh-mem.h.
 */
#include <config.h>

#include "vh-mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-overflow.h"

/* What offsets into the file have to be multiples of: huge pages tell by st_blksize. */
static uint64_t
map_granularity(const struct stat *st)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t block = (uint64_t)st->st_blksize;

    return block > page && mb_is_power_of_2(block) ? block : page;
}

static int
check_region(const struct vh_mem *mem, const struct vh_mem_region_msg *m)
{
    uint64_t end;
    unsigned i;

    if (m->size == 0 || MB_ADD_OVERFLOW(m->guest_addr, m->size - 1, &end) ||
        MB_ADD_OVERFLOW(m->user_addr, m->size - 1, &end) || MB_ADD_OVERFLOW(m->mmap_offset, m->size, &end) ||
        end > INT64_MAX || m->size > SIZE_MAX / 2)
        return -EINVAL;
    for (i = 0; i < mem->n; i++) {
        const struct vh_region *r = &mem->region[i];

        if (mb_ranges_overlap(r->gpa, r->size, m->guest_addr, m->size) ||
            mb_ranges_overlap(r->user, r->size, m->user_addr, m->size))
            return -EEXIST;
    }
    return mem->n == VH_MEM_MAX_REGIONS ? -ENOSPC : 0;
}

static int
map_region(struct vh_region *r, const struct vh_mem_region_msg *m, int fd)
{
    uint64_t skip;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode) && !mb_range_within(m->mmap_offset, m->size, (uint64_t)st.st_size))
        return -EINVAL;
    skip = m->mmap_offset & (map_granularity(&st) - 1);
    r->map_size = (size_t)(m->size + skip);
    r->map = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                  (off_t)(m->mmap_offset - skip));
    if (r->map == MAP_FAILED)
        return -errno;
    /* Guest memory has no place in our core dump, nor in a child. */
    madvise(r->map, r->map_size, MADV_DONTDUMP);
    r->gpa = m->guest_addr;
    r->size = m->size;
    r->user = m->user_addr;
    r->host = (char *)r->map + skip;
    return 0;
}

int
vh_mem_add(struct vh_mem *mem, const struct vh_mem_region_msg *m, int fd)
{
    struct vh_region r;
    unsigned at;
    int ret;

    ret = check_region(mem, m);
    if (ret == 0)
        ret = map_region(&r, m, fd);
    if (ret < 0)
        return ret;
    for (at = mem->n; at > 0 && mem->region[at - 1].gpa > r.gpa; at--)
        mem->region[at] = mem->region[at - 1];
    mem->region[at] = r;
    mem->n++;
    return 0;
}

int
vh_mem_remove(struct vh_mem *mem, const struct vh_mem_region_msg *m)
{
    unsigned i;

    for (i = 0; i < mem->n; i++) {
        struct vh_region *r = &mem->region[i];

        if (r->gpa == m->guest_addr && r->user == m->user_addr && r->size == m->size) {
            munmap(r->map, r->map_size);
            memmove(r, r + 1, (mem->n - i - 1) * sizeof(*r));
            mem->n--;
            return 0;
        }
    }
    return -ENOENT;
}

void
vh_mem_clear(struct vh_mem *mem)
{
    unsigned i;

    for (i = 0; i < mem->n; i++)
        munmap(mem->region[i].map, mem->region[i].map_size);
    mem->n = 0;
}

const struct vh_region *
vh_mem_find(const struct vh_mem *mem, uint64_t gpa)
{
    unsigned low = 0, high = mem->n;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct vh_region *r = &mem->region[middle];

        if (gpa < r->gpa)
            high = middle;
        else if (gpa - r->gpa < r->size)
            return r;
        else
            low = middle + 1;
    }
    return NULL;
}

void *
vh_mem_user_to_host(const struct vh_mem *mem, uint64_t user, uint64_t len)
{
    unsigned i;

    for (i = 0; i < mem->n; i++) {
        const struct vh_region *r = &mem->region[i];

        if (user >= r->user && mb_range_within(user - r->user, len, r->size))
            return r->host + (user - r->user);
    }
    return NULL;
}

int
vh_mem_read(const struct vh_mem *mem, uint64_t gpa, void *buf, size_t len)
{
    char *to = buf;

    while (len > 0) {
        const struct vh_region *r = vh_mem_find(mem, gpa);
        uint64_t offset;
        size_t chunk;

        if (!r)
            return -EFAULT;
        offset = gpa - r->gpa;
        chunk = (size_t)MB_MIN(r->size - offset, len);
        memcpy(to, r->host + offset, chunk);
        to += chunk;
        len -= chunk;
        if (MB_ADD_OVERFLOW(gpa, chunk, &gpa) && len > 0)
            return -EFAULT;
    }
    return 0;
}

static void
on_sigbus(int sig MB_UNUSED)
{
    static const char text[] =
        "error: SIGBUS: memory shared by the front-end, or a file in use, was truncated; giving up\n";

    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)ignored;
    _exit(EXIT_FAILURE);
}

void
vh_mem_catch_sigbus(void)
{
    struct sigaction sa = {.sa_handler = on_sigbus};

    sigaction(SIGBUS, &sa, NULL);
}
