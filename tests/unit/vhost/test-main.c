/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conventions of back-end programs, on toy-backend: options, sockets old
 * and new, readiness, signals, reconnecting front-ends, and memory that goes
 * away.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mb-io.h"
#include "tap.h"
#include "vuclient.h"

static char program[512];
static char dir[] = "/tmp/msb-test-XXXXXX";
static char socket_path[64];

/* ---- running it ------------------------------------------------------------------------- */

struct run {
    pid_t pid;
    int out; /* its stdout and stderr */
    char text[4096];
};

/* Start toy-backend with these arguments. */
static void
start(struct run *r, const char *const *args)
{
    posix_spawn_file_actions_t actions;
    const char *argv[16] = {program};
    int ends[2], n = 1;

    memset(r, 0, sizeof(*r));
    while (args[n - 1]) {
        argv[n] = args[n - 1];
        n++;
    }
    if (pipe2(ends, O_CLOEXEC) < 0)
        exit(1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    if (posix_spawn(&r->pid, program, &actions, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        exit(1);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    r->out = ends[0];
}

/* Its end: the wait status; what it printed is in text. */
static int
finish(struct run *r)
{
    int status = -1;
    ssize_t n = mb_read_full(r->out, r->text, sizeof(r->text) - 1);

    r->text[n > 0 ? n : 0] = '\0';
    close(r->out);
    waitpid(r->pid, &status, 0);
    return status;
}

static int
run(struct run *r, const char *const *args)
{
    start(r, args);
    return finish(r);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Start it on the socket and wait until it says that it listens. */
static bool
start_listening(struct run *r, const char *more)
{
    char path_option[128], ready_option[32], byte = 0;
    int ends[2];
    bool ready;

    if (pipe(ends) < 0)
        return false;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    snprintf(path_option, sizeof(path_option), "--socket-path=%s", socket_path);
    snprintf(ready_option, sizeof(ready_option), "--ready-fd=%d", ends[1]);
    start(r, ARGS(path_option, ready_option, more));
    close(ends[1]);
    ready = mb_read_full(ends[0], &byte, 1) == 1 && byte == '\n' && mb_read_full(ends[0], &byte, 1) == 0;
    close(ends[0]);
    return ready;
}

static bool
echo_works(struct vu *vu)
{
    struct iovec out = {vu_alloc(vu, 8, 1), 8}, in = {vu_alloc(vu, 8, 1), 8};

    memcpy(out.iov_base, "12345678", 8);
    return vu_submit(vu, 0, &out, 1, &in, 1, VU_KICK, vu) == 0 &&
           vu_wait(vu, 0, VU_TIMEOUT_MS, NULL, NULL) == 1 && memcmp(in.iov_base, "12345678", 8) == 0;
}

/* ---- options ------------------------------------------------------------------------------- */

static void
test_options(void)
{
    struct run r;

    ok(run(&r, ARGS("--help")) == 0 && strstr(r.text, "--socket-path=PATH") && strstr(r.text, "--stamp"),
       "--help");
    ok(run(&r, ARGS("--version")) == 0 && strstr(r.text, "toy-backend (msb) "), "--version");
    eq_int(run(&r, ARGS("--fd=3", "--nonsense", "--print-capabilities")), 0,
           "--print-capabilities, whatever else");
    eq_str(r.text, "{\"type\": \"toy\", \"features\": []}\n", "prints them alone");
    ok(WEXITSTATUS(run(&r, ARGS("--reconnect"))) == 2 && strstr(r.text, "either --socket-path or --fd"),
       "no socket");
    ok(WEXITSTATUS(run(&r, ARGS("--fd=3", "--socket-path=x"))) == 2, "two sockets");
    ok(WEXITSTATUS(run(&r, ARGS("--fd=x"))) == 2 && strstr(r.text, "'x'"), "a descriptor that is no number");
    ok(WEXITSTATUS(run(&r, ARGS("--fd=-1"))) == 2, "a negative descriptor");
    ok(WEXITSTATUS(run(&r, ARGS("--nonsense"))) == 2 && strstr(r.text, "--help"), "an unknown option");
    ok(WEXITSTATUS(run(&r, ARGS("--fd=3", "more"))) == 2 && strstr(r.text, "'more'"), "an argument");
    ok(WEXITSTATUS(run(&r, ARGS("--fd=3", "--log-level=loud"))) == 2 && strstr(r.text, "'loud'"),
       "a log level");
    ok(WEXITSTATUS(run(&r, ARGS("--fd=77"))) == 1 && strstr(r.text, "descriptor 77"),
       "a descriptor that is closed");
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void
test_spawned(void)
{
    const char *const argv[] = {program, "--exit-with-parent", NULL};
    struct vu_options o = {.argv = argv};
    struct vu *vu = vu_open(&o);

    if (!ok(vu != NULL, "started with a connected descriptor"))
        return;
    ok(echo_works(vu), "it serves, confined");
    eq_int(vu_close(vu), 0, "and ends well when the front-end leaves");
}

static void
test_listening(void)
{
    struct vu_options o = {.socket_path = socket_path};
    struct run r, second;
    struct stat st;
    struct vu *vu;
    char option[128];

    snprintf(option, sizeof(option), "--socket-path=%s", socket_path);
    if (!ok(start_listening(&r, NULL), "it says when it listens"))
        return;
    ok(stat(socket_path, &st) == 0 && (st.st_mode & 0777) == 0600, "the socket is its owner's alone");
    eq_int(WEXITSTATUS(run(&second, ARGS(option))), 1, "a second one on the same socket fails");
    ok(strstr(second.text, "Address already in use") && strstr(second.text, socket_path), "and says why");
    vu = vu_open(&o);
    ok(vu && echo_works(vu), "the first one serves");
    vu_close(vu);
    eq_int(finish(&r), 0, "and ends after its front-end, as it was not told to reconnect");

    /* The socket file is there still, and nobody behind it. */
    if (!ok(start_listening(&r, "--reconnect"), "a stale socket is replaced"))
        return;
    vu = vu_open(&o);
    ok(vu && echo_works(vu), "one front-end");
    vu_close(vu);
    vu = vu_open(&o);
    ok(vu && echo_works(vu), "another one");
    vu_disconnect(vu);
    vu_close(vu);
    vu = vu_open(&o);
    ok(vu && echo_works(vu), "and another, after one that left in the middle");
    kill(r.pid, SIGTERM);
    eq_int(finish(&r), 0, "it ends when told to");
    vu_disconnect(vu);
    vu_close(vu);
}

static void
test_not_a_socket(void)
{
    char path[128], option[160];
    struct run r;
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/file", dir);
    snprintf(option, sizeof(option), "--socket-path=%s", path);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    eq_int(WEXITSTATUS(run(&r, ARGS(option))), 1, "a file where the socket should be");
    ok(stat(path, &st) == 0 && S_ISREG(st.st_mode), "is not replaced");
    unlink(path);
    snprintf(option, sizeof(option), "--socket-path=%s/%0120d", dir, 0);
    ok(WEXITSTATUS(run(&r, ARGS(option))) == 1 && strstr(r.text, "too long"),
       "a path that no socket can have");
}

/* ---- ends --------------------------------------------------------------------------------------- */

static void
test_stop_drains(void)
{
    struct vu_options o = {.socket_path = socket_path};
    struct iovec out, in;
    struct run r;
    struct vu *vu;
    unsigned i, done = 0;

    if (!start_listening(&r, "--log-level=error"))
        return;
    vu = vu_open(&o);
    if (!ok(vu != NULL, "it is up"))
        return;
    out = (struct iovec){vu_alloc(vu, 1, 1), 1};
    in = (struct iovec){vu_alloc(vu, 1, 1), 1};
    *(char *)out.iov_base = 'H';
    for (i = 0; i < 10; i++)
        vu_submit(vu, 0, &out, 1, &in, 1, VU_KICK, NULL);
    /* Behind them one that completes, so that they were taken. */
    echo_works(vu);
    kill(r.pid, SIGTERM);
    eq_int(finish(&r), 0, "told to end with requests under way");
    while (vu_poll(vu, 0, NULL, NULL) == 1)
        done++;
    eq_int(done, 10, "it completed them first");
    vu_disconnect(vu);
    vu_close(vu);
}

/* The front-end takes the memory away and asks for something in it. */
static void
test_truncated_memory(void)
{
    struct vu_options o = {.socket_path = socket_path};
    struct iovec out, in;
    struct run r;
    struct vu *vu;
    int status;

    if (!start_listening(&r, NULL))
        return;
    vu = vu_open(&o);
    if (!ok(vu && echo_works(vu), "it is up"))
        return;
    vu_alloc(vu, 32 << 20, 1);
    out = (struct iovec){vu_alloc(vu, 8, 1), 8};
    in = (struct iovec){vu_alloc(vu, 8, 1), 8};
    vu_submit(vu, 0, &out, 1, &in, 1, 0, NULL);
    if (ftruncate(vu->mem_fd, 16 << 20) < 0)
        return;
    vu_kick(vu, 0, true);
    status = finish(&r);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "memory that is truncated ends it with status 1");
    ok(strstr(r.text, "SIGBUS"), "and a message");
    vu_disconnect(vu);
    vu_close(vu);
}

/* A program that starts the back-end and is killed. */
static void
test_parent(void)
{
    int ends[2];
    pid_t pid;
    struct pollfd p;
    char text[16];

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        char path[128], ready[32];
        int fd = dup(ends[1]);

        snprintf(path, sizeof(path), "--socket-path=%s", socket_path);
        snprintf(ready, sizeof(ready), "--ready-fd=%d", fd);
        if (fork() == 0) {
            /* Its stdout keeps the pipe open as long as it lives. */
            dup2(ends[1], 1);
            execl(program, program, path, ready, "--exit-with-parent", NULL);
            _exit(127);
        }
        pause();
        _exit(0);
    }
    close(ends[1]);
    ok(read(ends[0], text, 1) == 1, "a parent started it");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    p = (struct pollfd){.fd = ends[0], .events = POLLIN};
    ok(poll(&p, 1, VU_TIMEOUT_MS) == 1 && read(ends[0], text, 1) == 0,
       "when it is killed, the back-end ends too");
    while (waitpid(-1, NULL, 0) > 0)
        ;
    close(ends[0]);
}

int
main(int argc, char **argv)
{
    const char *build = getenv("abs_top_builddir");

    if (build)
        snprintf(program, sizeof(program), "%s/tests/unit/vhost/toy-backend", build);
    else
        snprintf(program, sizeof(program), "%.*stoy-backend",
                 (int)(strrchr(argv[0], '/') ? strrchr(argv[0], '/') - argv[0] + 1 : 0), argv[0]);
    if (!mkdtemp(dir))
        return 1;
    snprintf(socket_path, sizeof(socket_path), "%s/sock", dir);
    test_options();
    test_spawned();
    test_listening();
    test_not_a_socket();
    test_stop_drains();
    test_truncated_memory();
    test_parent();
    unlink(socket_path);
    rmdir(dir);
    return tap_done();
}
