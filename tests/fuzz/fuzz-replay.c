/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main() for fuzz targets without libFuzzer.
 *
 *     fuzz-NAME              the seeds in tests/fuzz/corpus/NAME, and mutations of them
 *     fuzz-NAME FILE...      these inputs, as they are
 *
 * MSB_FUZZ_RUNS mutations are made of each seed (default 100), from a fixed
 * start, so that a failure can be repeated.  The input at hand is kept in a
 * file while it runs and named in a TAP comment when the target dies of it.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-log.h"
#include "mb-parse.h"
#include "tap.h"

#define DEFAULT_RUNS 100

static uint64_t random_state;
static const uint8_t *current;
static size_t current_size;
static char crash_path[256];

/* xorshift64*: the same numbers everywhere. */
static uint64_t
next_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static void
on_crash(int sig)
{
    static const char text[] = "# the input is in ";
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t ignored;

    if (fd >= 0) {
        ignored = write(fd, current, current_size);
        close(fd);
    }
    ignored = write(STDOUT_FILENO, text, sizeof(text) - 1);
    ignored = write(STDOUT_FILENO, crash_path, strlen(crash_path));
    ignored = write(STDOUT_FILENO, "\n", 1);
    (void)ignored;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void
run(const uint8_t *data, size_t size)
{
    /* A copy of its own size, so that reading past its end is seen. */
    mb_autofree uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        return;
    if (size)
        memcpy(copy, data, size);
    current = copy;
    current_size = size;
    LLVMFuzzerTestOneInput(copy, size);
    current = NULL;
    current_size = 0;
}

/* One change: a bit, a byte, an interesting number, a piece moved, inserted or cut. */
static size_t
mutate_once(uint8_t *buf, size_t size, size_t cap)
{
    static const uint64_t numbers[] = {
        0,      1,          0x7f,       0x80,       0xff,       0x7fff,    0x8000,
        0xffff, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, INT64_MAX, UINT64_C(1) << 63};
    size_t at = size ? next_random() % size : 0, n, to;

    switch (size ? next_random() % 6 : 4) {
    case 0:
        buf[at] ^= (uint8_t)(1u << next_random() % 8);
        return size;
    case 1:
        buf[at] = (uint8_t)next_random();
        return size;
    case 2:
        n = (size_t)1 << next_random() % 4;
        memcpy(buf + at, &numbers[next_random() % (sizeof(numbers) / sizeof(numbers[0]))],
               n < size - at ? n : size - at);
        return size;
    case 3:
        n = next_random() % (size - at) + 1;
        to = next_random() % size;
        memmove(buf + to, buf + at, n < size - to ? n : size - to);
        return size;
    case 4:
        n = next_random() % 16 + 1;
        if (n > cap - size)
            n = cap - size;
        memmove(buf + at + n, buf + at, size - at);
        while (n > 0 && size < cap) {
            buf[at + --n] = (uint8_t)next_random();
            size++;
        }
        return size;
    default:
        return next_random() % 4 ? size - (size - at < 4 ? size - at : next_random() % 4) : at;
    }
}

static void
run_mutations(const uint8_t *seed, size_t size, uint64_t runs)
{
    size_t cap = size + 256;
    mb_autofree uint8_t *buf = malloc(cap);

    while (buf && runs-- > 0) {
        unsigned changes = 1 + (unsigned)(next_random() % 8);
        size_t len = size;

        memcpy(buf, seed, size);
        while (changes-- > 0)
            len = mutate_once(buf, len, cap);
        run(buf, len);
    }
}

static void
replay(int dir_fd, const char *name, uint64_t runs)
{
    mb_autofree char *data = NULL;
    size_t size = 0;
    int r = mb_read_file_at(dir_fd, name, FUZZ_MAX_INPUT, &data, &size);

    if (r == 0) {
        random_state = 0x9e3779b97f4a7c15 ^ size;
        run((const uint8_t *)data, size);
        run_mutations((const uint8_t *)data, size, runs);
    }
    ok(r == 0, "%s%s%s", name, r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
}

static int
is_seed(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int
replay_corpus(const char *path, uint64_t runs)
{
    mb_autofd int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent **list = NULL;
    int n, i;

    n = dir_fd < 0 ? -1 : scandir(path, &list, is_seed, alphasort);
    ok(n > 0, "there are seeds in %s", path);
    run(NULL, 0);
    for (i = 0; i < n; i++) {
        replay(dir_fd, list[i]->d_name, runs);
        free(list[i]);
    }
    free(list);
    return tap_done();
}

int
main(int argc, char **argv)
{
    const char *source = getenv("abs_top_srcdir"), *runs_text = getenv("MSB_FUZZ_RUNS");
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    uint64_t runs = DEFAULT_RUNS;
    char path[4096];
    int i;

    if (strncmp(name, "lt-", 3) == 0)
        name += 3;
    if (runs_text && mb_parse_u64(runs_text, &runs) < 0) {
        fprintf(stderr, "MSB_FUZZ_RUNS='%s' is no number\n", runs_text);
        return 1;
    }
    mb_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    snprintf(crash_path, sizeof(crash_path), "crash-%s", name);
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGABRT, on_crash);
    signal(SIGILL, on_crash);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        for (i = 1; i < argc; i++)
            replay(AT_FDCWD, argv[i], 0);
        return tap_done();
    }
    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", source ? source : ".", name + strlen("fuzz-"));
    return replay_corpus(path, runs);
}
