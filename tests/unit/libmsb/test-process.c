/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Spawning: descriptors, signals, failures, deadlines. */
#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "msb-process.h"
#include "test-util.h"

static int
run_script(const MsbSpawn *base, const char *script)
{
    const char *argv[] = { "/bin/sh", "-c", script, NULL };
    g_autoptr(GError) error = NULL;
    MsbSpawn spawn = *base;
    int pidfd, status;
    pid_t pid;

    spawn.argv = argv;
    g_assert_true(msb_process_spawn(&spawn, &pid, &pidfd, &error));
    g_assert_no_error(error);
    g_assert_true(msb_process_reap(pid, pidfd, 120000, &status, &error));
    g_assert_no_error(error);
    close(pidfd);
    return status;
}

static void
test_status(void)
{
    MsbSpawn spawn = MSB_SPAWN_INIT;
    g_autofree char *nine = NULL, *three = NULL;
    int status = run_script(&spawn, "exit 3");

    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    three = msb_process_describe_status(status);
    g_assert_cmpstr(three, ==, "exit status 3");
    status = run_script(&spawn, "kill -9 $$");
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    nine = msb_process_describe_status(status);
    g_assert_true(g_str_has_prefix(nine, "signal 9"));
}

static void
test_descriptors(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "out", NULL), *text = NULL;
    int a = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), leak = open("/dev/null", O_RDWR);
    int b = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    /* crossed on purpose: each source is where the other's target is */
    MsbFdMap map[] = { { a, b }, { b, a } };
    MsbSpawn spawn = MSB_SPAWN_INIT;
    g_autofree char *script = g_strdup_printf(
        "ls /proc/self/fd | wc -l >&%d; readlink /proc/self/fd/%d /proc/self/fd/0 >&%d", b, a, b);

    spawn.fds = map;
    spawn.n_fds = 2;
    g_assert_cmpint(run_script(&spawn, script), ==, 0);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    /* 0, 1, 2, the two given ones, and the directory that ls reads: nothing leaked */
    g_assert_cmpstr(text, ==, "6\n/dev/zero\n/dev/null\n");
    close(a);
    close(b);
    close(leak);
}

static void
test_environment(void)
{
    const char *env[] = { "ONLY=this", NULL };
    MsbSpawn spawn = MSB_SPAWN_INIT;

    spawn.envp = env;
    spawn.cwd = "/usr";
    spawn.new_session = TRUE;
    g_assert_cmpint(run_script(&spawn, "test \"$ONLY\" = this && test -z \"$HOME\" && test \"$PWD\" = /usr && "
                                       "test \"$(cut -d' ' -f6 /proc/$$/stat)\" = $$"), ==, 0);
}

static void
test_signals_reset(void)
{
    MsbSpawn spawn = MSB_SPAWN_INIT;
    sigset_t block;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    /* 0x180000000: signals 32 and 33 are libc's own, which some libcs' posix_spawn() leave ignored */
    sigprocmask(SIG_BLOCK, &block, NULL);
    g_assert_cmpint(run_script(&spawn, "grep -q '^SigBlk:[[:space:]]*0*$' /proc/self/status && "
                                       "grep -Eq '^SigIgn:[[:space:]]*0*(180000000)?$' /proc/self/status"), ==, 0);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    signal(SIGPIPE, SIG_DFL);
}

static void
test_failures(void)
{
    const char *missing[] = { "/nowhere/program", NULL }, *directory[] = { "/", NULL }, *sh[] = { "/bin/sh", NULL };
    MsbSpawn spawn = MSB_SPAWN_INIT;
    g_autoptr(GError) error = NULL;
    pid_t pid;

    spawn.argv = missing;
    g_assert_false(msb_process_spawn(&spawn, &pid, NULL, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "cannot execute '/nowhere/program'");
    spawn.argv = directory;
    g_assert_false(msb_process_spawn(&spawn, &pid, NULL, &error));
    assert_failed_with(error, MSB_ERROR_IO, "cannot execute '/'");
    spawn.argv = sh;
    spawn.cwd = "/nowhere";
    g_assert_false(msb_process_spawn(&spawn, &pid, NULL, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "in directory '/nowhere'");
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void
test_death_signal(void)
{
    g_autoptr(GError) error = NULL;
    int p[2], q[2];
    pid_t middle;
    char c;

    /* a process that starts one with a death signal and is killed: the pipe that the inner one holds closes */
    g_assert_cmpint(pipe2(p, O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(q, O_CLOEXEC), ==, 0);
    middle = fork();
    if (middle == 0) {
        const char *argv[] = { "/bin/sh", "-c", "read x", NULL };
        MsbSpawn spawn = MSB_SPAWN_INIT;
        pid_t pid;

        spawn.argv = argv;
        spawn.stdin_fd = q[0];
        spawn.stdout_fd = p[1];
        spawn.death_signal = SIGKILL;
        (void)!write(p[1], msb_process_spawn(&spawn, &pid, NULL, NULL) ? "y" : "n", 1);
        pause();
        _exit(0);
    }
    close(p[1]);
    g_assert_cmpint(read(p[0], &c, 1), ==, 1);
    g_assert_cmpint(c, ==, 'y');
    kill(middle, SIGKILL);
    g_assert_cmpint(read(p[0], &c, 1), ==, 0);
    g_assert_cmpint(waitpid(middle, NULL, 0), ==, middle);
    close(p[0]);
    close(q[0]);
    close(q[1]);
}

/* A detached process is nobody's zombie, and its end still shows. */
static void
test_detach(void)
{
    const char *argv[] = { "/bin/sh", "-c", "read x", NULL }, *missing[] = { "/nowhere/program", NULL };
    MsbSpawn spawn = MSB_SPAWN_INIT;
    g_autoptr(GError) error = NULL;
    struct pollfd pfd = { .events = POLLIN };
    int p[2], pidfd;
    pid_t pid;

    g_assert_cmpint(pipe2(p, O_CLOEXEC), ==, 0);
    spawn.argv = argv;
    spawn.stdin_fd = p[0];
    spawn.detach = TRUE;
    g_assert_true(msb_process_spawn(&spawn, &pid, &pidfd, &error));
    g_assert_no_error(error);
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
    g_assert_cmpint(kill(pid, 0), ==, 0);
    pfd.fd = pidfd;
    g_assert_cmpint(poll(&pfd, 1, 0), ==, 0);
    close(p[1]);
    close(p[0]);
    g_assert_cmpint(poll(&pfd, 1, 120000), ==, 1);
    close(pidfd);
    spawn.argv = missing;
    spawn.stdin_fd = -1;
    g_assert_false(msb_process_spawn(&spawn, &pid, NULL, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "cannot execute '/nowhere/program'");
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void
test_reap_timeout(void)
{
    const char *argv[] = { "/bin/sh", "-c", "read x", NULL };
    MsbSpawn spawn = MSB_SPAWN_INIT;
    g_autoptr(GError) error = NULL;
    int p[2], pidfd, status;
    pid_t pid;

    g_assert_cmpint(pipe2(p, O_CLOEXEC), ==, 0);
    spawn.argv = argv;
    spawn.stdin_fd = p[0];
    g_assert_true(msb_process_spawn(&spawn, &pid, &pidfd, &error));
    g_assert_false(msb_process_reap(pid, pidfd, 20, &status, &error));
    assert_failed_with(error, MSB_ERROR_TIMEOUT, "still runs");
    close(p[1]);
    close(p[0]);
    g_assert_true(msb_process_reap(pid, pidfd, -1, &status, &error));
    close(pidfd);
}

static void
test_run(void)
{
    const char *echo[] = { "/bin/sh", "-c", "echo out; echo err >&2", NULL };
    const char *fails[] = { "/bin/sh", "-c", "echo because >&2; exit 7", NULL };
    const char *hangs[] = { "/bin/sh", "-c", "exec sleep 100", NULL };
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_process_run(echo, 120000, &out, &error));
    g_assert_cmpstr(out, ==, "out\n");
    g_assert_false(msb_process_run(fails, 120000, NULL, &error));
    assert_failed_with(error, MSB_ERROR_FAILED, "exit status 7: because");
    g_assert_false(msb_process_run(hangs, 50, NULL, &error));
    assert_failed_with(error, MSB_ERROR_TIMEOUT, "within 50 ms");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/process/status", test_status);
    g_test_add_func("/process/descriptors", test_descriptors);
    g_test_add_func("/process/environment", test_environment);
    g_test_add_func("/process/signals-reset", test_signals_reset);
    g_test_add_func("/process/failures", test_failures);
    g_test_add_func("/process/death-signal", test_death_signal);
    g_test_add_func("/process/detach", test_detach);
    g_test_add_func("/process/reap-timeout", test_reap_timeout);
    g_test_add_func("/process/run", test_run);
    return g_test_run();
}
