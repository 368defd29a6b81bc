/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent's commands without a machine: agent-native --serve-fd over a
 * socketpair, as whoever runs the test.
 */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent-host.h"
#include "mb-cleanup.h"
#include "tap.h"

static char *path_of_agent;
static uint32_t last_session;

struct agent {
    struct host host;
    pid_t pid;
};

static void
start(struct agent *a)
{
    int sv[2];
    char option[32];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        exit(99);
    a->pid = fork();
    if (a->pid == 0) {
        fcntl(sv[1], F_SETFD, 0);
        snprintf(option, sizeof(option), "--serve-fd=%d", sv[1]);
        execl(path_of_agent, "agent-native", option, (char *)NULL);
        _exit(99);
    }
    close(sv[1]);
    memset(&a->host, 0, sizeof(a->host));
    a->host.fd = sv[0];
    a->host.timeout_ms = 120000;
}

/* HELLO, BOOT, READY. */
static void
handshake(struct agent *a)
{
    char me[40];
    char *env[] = { (char *)"BASE=base", (char *)"BOTH=boot", NULL };
    struct mp_boot boot = { .env = env, .user = me, .workdir = (char *)"/" };
    struct mp_ready ready = { 0 };
    struct mp_enc e = { 0 };
    struct mp_header h;
    const uint8_t *p;

    snprintf(me, sizeof(me), "%u:%u", (unsigned)getuid(), (unsigned)getgid());
    ok(host_next(&a->host, &h, &p) == 1 && h.type == MP_HELLO && h.length == 4 && p[0] == MP_VERSION, "hello");
    ok(mp_boot_encode(&e, &boot) == 0 && host_send(&a->host, &e) == 0, "boot");
    ok(host_next(&a->host, &h, &p) == 1 && h.type == MP_READY, "ready");
    eq_int(mp_ready_decode(&ready, p, h.length), 0, "with timings");
    eq_str(ready.agent_version, PACKAGE_VERSION, "and a version");
    mp_ready_clear(&ready);
}

/* The agent ends and says so with this status; no command is left. */
static void
finish(struct agent *a, int want)
{
    int status = -1;

    close(a->host.fd);
    mp_reader_clear(&a->host.in);
    waitpid(a->pid, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == want, "the agent exits %d (got status 0x%x)", want, status);
}

static uint32_t
launch(struct agent *a, struct mp_exec *m)
{
    if (host_exec(&a->host, ++last_session, m) < 0)
        ok(0, "send a command");
    return last_session;
}

static uint32_t
shell(struct agent *a, const char *script, bool tty, bool no_stdin)
{
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)script, NULL };
    struct mp_exec m = { .argv = argv, .tty = tty, .rows = 24, .cols = 80, .no_stdin = no_stdin };

    return launch(a, &m);
}

static struct host_result
wait_for(struct agent *a, uint32_t session)
{
    struct host_result r = { 0 };
    int x = host_finish(&a->host, session, &r);

    if (x < 0)
        ok(0, "the session ends (%s)", strerror(-x));
    return r;
}

static struct host_result
run(struct agent *a, const char *script)
{
    return wait_for(a, shell(a, script, false, true));
}

static void
test_basic(struct agent *a)
{
    struct host_result r = run(a, "echo out; echo err >&2; exit 3");

    eq_str(r.out, "out\n", "standard output");
    eq_str(r.err, "err\n", "standard error");
    ok(!r.signalled && r.code == 3 && r.pid > 1, "exit code and pid");
    host_result_clear(&r);
    r = run(a, "kill -9 $$");
    ok(r.signalled && r.code == 9, "death by signal");
    host_result_clear(&r);
    r = run(a, "cat; ulimit -n >/dev/null; echo $BASE");
    eq_str(r.out, "base\n", "no stdin reads as empty, the boot frame's environment is there");
    host_result_clear(&r);
    r = run(a, "kill -l >/dev/null; trap '' TERM; kill -TERM $$; echo alive; ls /proc/self/fd | wc -l");
    ok(r.out && strncmp(r.out, "alive\n", 6) == 0, "signals are at their defaults, and can be ignored");
    eq_int(r.out ? atoi(r.out + 6) : -1, 4, "no descriptor of the agent's is inherited");
    host_result_clear(&r);
}

static void
test_context(struct agent *a)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)"echo $BOTH $OWN; pwd; echo \"$0:$1\"", (char *)"zero",
                     (char *)"one two", NULL };
    char *env[] = { (char *)"BOTH=exec", (char *)"OWN=o w n", NULL };
    struct mp_exec m = { .argv = argv, .env = env, .cwd = (char *)"/usr", .no_stdin = 1 };
    struct host_result r = wait_for(a, launch(a, &m));

    eq_str(r.out, "exec o w n\n/usr\nzero:one two\n", "environment, directory and arguments");
    host_result_clear(&r);
}

static void
expect_failure(struct agent *a, struct mp_exec *m, uint8_t kind, uint32_t error, const char *object)
{
    struct host_result r = wait_for(a, launch(a, m));

    ok(r.failed && r.kind == kind && r.error == error && strcmp(r.object, object) == 0,
       "failure %u, errno %u, \"%s\" (got %d: %u, %u, \"%s\")", kind, error, object, r.failed, r.kind, r.error,
       r.object);
    host_result_clear(&r);
}

static void
test_failures(struct agent *a, const char *dir)
{
    char *argv[] = { (char *)"no-such-command", NULL };
    char *env[] = { (char *)"BAD", NULL };
    char path[300], script[300];
    struct mp_exec m = { .argv = argv, .no_stdin = 1 };
    char *set_path[2] = { NULL, NULL };
    FILE *f;

    expect_failure(a, &m, MP_EXEC_NOT_FOUND, ENOENT, "no-such-command");
    argv[0] = (char *)"/no/such/file";
    expect_failure(a, &m, MP_EXEC_NOT_FOUND, ENOENT, "/no/such/file");
    argv[0] = (char *)"/etc/passwd";
    expect_failure(a, &m, MP_EXEC_NOT_EXECUTABLE, EACCES, "/etc/passwd");
    argv[0] = (char *)"/tmp";
    expect_failure(a, &m, MP_EXEC_NOT_EXECUTABLE, EACCES, "/tmp");
    snprintf(path, sizeof(path), "%s/script", dir);
    f = fopen(path, "w");
    fputs("#!/no/interpreter\n", f);
    fclose(f);
    chmod(path, 0755);
    argv[0] = path;
    expect_failure(a, &m, MP_EXEC_NOT_EXECUTABLE, ENOENT, path);
    snprintf(script, sizeof(script), "PATH=/nowhere:%s", dir);
    set_path[0] = script;
    m.env = set_path;
    argv[0] = (char *)"script";
    expect_failure(a, &m, MP_EXEC_NOT_EXECUTABLE, ENOENT, path);
    m.env = env;
    expect_failure(a, &m, MP_EXEC_BAD_ARGS, EINVAL, "BAD");
    m.env = NULL;
    m.cwd = (char *)"/no/such/dir";
    expect_failure(a, &m, MP_EXEC_BAD_CWD, ENOENT, "/no/such/dir");
    m.cwd = NULL;
    m.user = (char *)"nobody-like-this";
    expect_failure(a, &m, MP_EXEC_BAD_USER, 0, "nobody-like-this");
    m.user = (char *)"root:nogroup-like-this";
    expect_failure(a, &m, MP_EXEC_BAD_USER, 0, "nogroup-like-this");
    m.user = NULL;
    argv[0] = NULL;
    expect_failure(a, &m, MP_EXEC_BAD_ARGS, EINVAL, "");
    unlink(path);
}

static void
test_stdin(struct agent *a)
{
    uint32_t s = shell(a, "cat; echo end", false, false);
    struct host_result r;

    host_simple(&a->host, MP_STDIN, s, "hello\n", 6);
    host_simple(&a->host, MP_STDIN, s, "world\n", 6);
    host_simple(&a->host, MP_STDIN_EOF, s, NULL, 0);
    r = wait_for(a, s);
    eq_str(r.out, "hello\nworld\nend\n", "standard input until its end");
    host_result_clear(&r);

    s = shell(a, "exec <&-; sleep 0.1; echo done", false, false);
    for (int i = 0; i < 20; i++)
        host_simple(&a->host, MP_STDIN, s, "unread\n", 7);
    r = wait_for(a, s);
    eq_str(r.out, "done\n", "a command that closes its standard input");
    host_result_clear(&r);
}

/* Bytes up and down at once, several windows' worth, the sender obeying its credit. */
static void
test_volume(struct agent *a)
{
    static uint8_t chunk[MP_DATA_MAX];
    const size_t total = 20 * MP_WINDOW;
    uint32_t s = shell(a, "cat", false, false);
    struct host_result r = { 0 };
    size_t sent = 0, window = MP_WINDOW;
    bool over = false;

    for (size_t i = 0; i < sizeof(chunk); i++)
        chunk[i] = (uint8_t)(i * 7);
    while (!over) {
        struct mp_header h;
        const uint8_t *p;
        uint8_t stream;
        uint32_t bytes;
        int x;

        while (sent < total && window >= sizeof(chunk)) {
            if (host_simple(&a->host, MP_STDIN, s, chunk, sizeof(chunk)) < 0)
                break;
            sent += sizeof(chunk);
            window -= sizeof(chunk);
            if (sent == total)
                host_simple(&a->host, MP_STDIN_EOF, s, NULL, 0);
        }
        x = host_next(&a->host, &h, &p);
        if (x != 1) {
            ok(0, "frames keep coming (%d)", x);
            break;
        }
        if (h.type == MP_CREDIT && h.session == s && mp_credit_decode(p, h.length, &stream, &bytes) == 0)
            window += bytes;
        over = host_take(&a->host, s, &h, p, &r) == 1;
    }
    eq_int(window, MP_WINDOW, "all credit came back");
    eq_int(r.out_len, total, "all bytes came back");
    for (size_t i = 0; i < r.out_len; i++) {
        if ((uint8_t)r.out[i] != chunk[i % sizeof(chunk)]) {
            ok(0, "byte %zu is right", i);
            break;
        }
    }
    host_result_clear(&r);
}

/* Without credit a command stops after one window, and nothing else suffers. */
static void
test_window(struct agent *a)
{
    uint32_t s = shell(a, "head -c 1000000 /dev/zero; echo finished >&2", false, true), other = 0;
    struct mp_header h;
    const uint8_t *p;
    size_t got = 0;
    struct host_result r = { 0 };
    bool finished = false;

    while (host_next(&a->host, &h, &p) == 1) {
        if (h.session == s && h.type == MP_STDOUT)
            got += h.length;
        if (h.session == s && h.type == MP_STDERR)
            finished = true;
        /* Whatever else it could write is there before the other one ends. */
        if (!other && got >= MP_WINDOW)
            other = shell(a, "sleep 0.2; echo other", false, true);
        if (other && host_take(&a->host, other, &h, p, &r) == 1)
            break;
    }
    eq_int(got, MP_WINDOW, "a window's worth without credit");
    ok(!finished, "and the command waits");
    eq_str(r.out, "other\n", "while another one runs");
    host_result_clear(&r);
    host_credit(&a->host, s, 1, (uint32_t)got);
    r = wait_for(a, s);
    eq_int(r.out_len, 1000000 - got, "with credit the rest comes");
    host_result_clear(&r);
}

/* Read until the command has written something. */
static void
wait_for_output(struct agent *a, uint32_t session, struct host_result *r)
{
    struct mp_header h;
    const uint8_t *p;

    memset(r, 0, sizeof(*r));
    while (!r->out && host_next(&a->host, &h, &p) == 1)
        host_take(&a->host, session, &h, p, r);
}

/* A background process that keeps the output open does not keep the session. */
static void
test_background(struct agent *a)
{
    struct host_result r = run(a, "sleep 1000 & echo $!");
    bool late = false, all = false;

    ok(!r.failed && r.code == 0, "the session ends with its command");
    ok(r.out && kill(atoi(r.out), 0) == 0, "the background process lives on");
    if (r.out && atoi(r.out) > 1)
        kill(atoi(r.out), SIGKILL);
    host_result_clear(&r);
    /* On a busy machine soon may be too late, now and then. */
    for (int i = 0; i < 20 && !late; i++) {
        r = run(a, "(sleep 0.1; echo late) & echo early");
        late = r.out && strcmp(r.out, "early\nlate\n") == 0;
        host_result_clear(&r);
    }
    ok(late, "what it writes soon after is not lost");
    for (int i = 0; i < 20 && !all; i++) {
        r = run(a, "(head -c 200000 /dev/zero) & exit 5");
        all = r.out_len == 200000 && r.code == 5;
        host_result_clear(&r);
    }
    ok(all, "nor what is more than a pipe holds");
}

static void
test_signals(struct agent *a)
{
    uint32_t s = shell(a, "trap 'echo caught; exit 7' TERM; echo up; while :; do sleep 0.05; done", false, true);
    struct host_result r;

    wait_for_output(a, s, &r);
    host_signal(&a->host, s, SIGTERM);
    host_finish(&a->host, s, &r);
    eq_str(r.out, "up\ncaught\n", "a signal arrives");
    eq_int(r.code, 7, "and is handled");
    host_result_clear(&r);
    s = shell(a, "sleep 1000 & sleep 1000; wait", false, true);
    host_signal(&a->host, s, SIGKILL);
    r = wait_for(a, s);
    ok(r.signalled && r.code == SIGKILL, "SIGKILL right behind the start");
    host_result_clear(&r);
    host_signal(&a->host, 4711, SIGKILL);
    host_signal(&a->host, s, SIGKILL);
    r = run(a, "echo still");
    eq_str(r.out, "still\n", "signals to sessions that are gone are ignored");
    host_result_clear(&r);
}

static void
resize(struct agent *a, uint32_t s, uint16_t rows, uint16_t cols)
{
    struct mp_enc e = { 0 };

    mp_enc_begin(&e, MP_RESIZE, s, 0);
    mp_put_u16(&e, rows);
    mp_put_u16(&e, cols);
    if (mp_enc_end(&e) < 0 || host_send(&a->host, &e) < 0)
        ok(0, "send a size");
}

static void
test_tty(struct agent *a)
{
    uint32_t s = shell(a, "stty size; tty >/dev/null && echo tty; echo err >&2; ps -o tpgid= -p $$ | tr -d ' '; "
                          "test -t 2 && echo $TERM",
                       true, false);
    struct host_result r = wait_for(a, s);
    char *argv[] = { (char *)"sleep", (char *)"1000", NULL };
    struct mp_exec sleeper = { .argv = argv, .tty = 1 };
    char want[128];

    snprintf(want, sizeof(want), "24 80\r\ntty\r\nerr\r\n%u\r\nxterm\r\n", r.pid);
    eq_str(r.out, want, "a controlling terminal of the right size, everything on one stream");
    host_result_clear(&r);

    s = shell(a, "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.05; done", true, false);
    wait_for_output(a, s, &r);
    resize(a, s, 50, 132);
    host_finish(&a->host, s, &r);
    eq_str(r.out, "up\r\n50 132\r\n", "a new size arrives with SIGWINCH");
    host_result_clear(&r);

    s = shell(a, "stty -echo; read -r x; echo \"got $x\"; cat; echo end", true, false);
    host_simple(&a->host, MP_STDIN, s, "typed\n", 6);
    host_simple(&a->host, MP_STDIN, s, "more", 4);
    host_simple(&a->host, MP_STDIN_EOF, s, NULL, 0);
    r = wait_for(a, s);
    ok(r.out && strstr(r.out, "got typed\r\n") && strstr(r.out, "more") && strstr(r.out, "end\r\n"),
       "typed lines and the end of input");
    host_result_clear(&r);

    /* No shell: one that is just starting may swallow the signal. */
    s = launch(a, &sleeper);
    host_simple(&a->host, MP_STDIN, s, "\003", 1);
    /* The character may come before the child has the terminal; then a signal is needed. */
    host_signal(&a->host, s, SIGINT);
    r = wait_for(a, s);
    ok(r.signalled && r.code == SIGINT, "interrupt");
    host_result_clear(&r);
}

static void
test_many(struct agent *a)
{
    enum { N = 50 };
    static struct host_result r[N];
    uint32_t first = last_session + 1;
    unsigned over = 0, good = 0;

    for (unsigned i = 0; i < N; i++) {
        char script[64];

        snprintf(script, sizeof(script), "sleep 0.0%u; echo %u; exit %u", i % 10, i, i);
        shell(a, script, i % 5 == 0, true);
    }
    while (over < N) {
        struct mp_header h;
        const uint8_t *p;

        if (host_next(&a->host, &h, &p) != 1)
            break;
        if (h.session >= first && h.session < first + N)
            over += host_take(&a->host, h.session, &h, p, &r[h.session - first]) == 1;
    }
    for (unsigned i = 0; i < N; i++) {
        good += r[i].out && (unsigned)atoi(r[i].out) == i && r[i].code == i;
        host_result_clear(&r[i]);
    }
    eq_int(good, N, "many at once, each its own");
}

static void
test_shutdown(void)
{
    struct agent a;
    struct host_result r = { 0 };
    uint32_t s, t;
    bool refused = false;
    int x;
    struct mp_header h;
    const uint8_t *p;

    start(&a);
    handshake(&a);
    s = shell(&a, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", false, true);
    wait_for_output(&a, s, &r);
    host_shutdown(&a.host, 100000, MP_SHUTDOWN_POWEROFF);
    t = shell(&a, "echo too late", false, true);
    while ((x = host_next(&a.host, &h, &p)) == 1) {
        struct mp_exec_failed f = { 0 };

        host_take(&a.host, s, &h, p, &r);
        if (h.session == t && h.type == MP_EXEC_FAILED && mp_exec_failed_decode(&f, p, h.length) == 0)
            refused = f.kind == MP_EXEC_SHUTTING_DOWN;
        mp_exec_failed_clear(&f);
    }
    eq_int(x, 0, "the stream ends");
    eq_str(r.out, "up\nbye\n", "commands are asked to end");
    ok(refused, "no new one is started");
    host_result_clear(&r);
    finish(&a, 0);

    start(&a);
    handshake(&a);
    s = shell(&a, "trap '' TERM HUP; echo up; sleep 1000", false, true);
    wait_for_output(&a, s, &r);
    host_shutdown(&a.host, 100, MP_SHUTDOWN_POWEROFF);
    host_finish(&a.host, s, &r);
    ok(r.signalled && r.code == SIGKILL, "who does not end is killed after the grace");
    host_result_clear(&r);
    finish(&a, 0);
}

static void
test_hostile(void)
{
    uint8_t garbage[64];
    struct agent a;
    struct mp_header h;
    const uint8_t *p;
    struct mp_enc e = { 0 };
    struct host_result r;
    uint32_t s;

    start(&a);
    eq_int(host_next(&a.host, &h, &p), 1, "hello");
    s = shell(&a, "echo early", false, true);
    r = wait_for(&a, s);
    ok(r.failed && r.kind == MP_EXEC_OTHER && r.error == EAGAIN, "no command before the boot frame");
    host_result_clear(&r);
    host_simple(&a.host, MP_BOOT, 0, "\xff\xff\xff", 3);
    ok(host_next(&a.host, &h, &p) == 1 && h.type == MP_BOOT_FAILED, "a broken boot frame fails the boot");
    finish(&a, 0);

    start(&a);
    handshake(&a);
    host_simple(&a.host, MP_PING, 0, "ping", 4);
    ok(host_next(&a.host, &h, &p) == 1 && h.type == MP_PONG && h.length == 4 && !memcmp(p, "ping", 4), "pong");
    host_simple(&a.host, 9999, 0, "x", 1);
    host_simple(&a.host, 9999, 77, "x", 1);
    host_simple(&a.host, MP_STDIN, 77, "x", 1);
    host_simple(&a.host, MP_EXEC, 78, "\x01\x00\x00\x00", 4);
    r = wait_for(&a, 78);
    ok(r.failed && r.kind == MP_EXEC_BAD_ARGS, "a broken command frame is refused");
    host_result_clear(&r);
    s = shell(&a, "sleep 1000", false, false);
    mp_enc_begin(&e, MP_CREDIT, s, 0);
    if (mp_enc_end(&e) == 0)
        host_send(&a.host, &e);
    r = wait_for(&a, s);
    ok(r.signalled && r.code == SIGKILL, "a broken frame of a session costs that session");
    host_result_clear(&r);
    s = shell(&a, "sleep 1000", false, false);
    for (unsigned i = 0; i < 2 * MP_WINDOW / MP_DATA_MAX + 4; i++) {
        static const uint8_t chunk[MP_DATA_MAX];

        host_simple(&a.host, MP_STDIN, s, chunk, sizeof(chunk));
    }
    r = wait_for(&a, s);
    ok(r.signalled && r.code == SIGKILL, "so does more than the window");
    host_result_clear(&r);
    host_credit(&a.host, 1, 9, 5);
    s = shell(&a, "echo fine", false, true);
    host_credit(&a.host, s, 1, UINT32_MAX);
    host_credit(&a.host, s, 1, UINT32_MAX);
    r = wait_for(&a, s);
    eq_str(r.out, "fine\n", "the others do not notice");
    host_result_clear(&r);
    memset(garbage, 0xff, sizeof(garbage));
    if (write(a.host.fd, garbage, sizeof(garbage)) != sizeof(garbage))
        ok(0, "write garbage");
    ok(host_next(&a.host, &h, &p) == 0, "garbage ends it");
    finish(&a, 0);

    start(&a);
    handshake(&a);
    s = shell(&a, "sleep 1000", false, true);
    eq_int(host_next(&a.host, &h, &p), 1, "a command runs");
    finish(&a, 0);
}

int
main(void)
{
    const char *build = getenv("abs_top_builddir");
    char dir[] = "/tmp/msb-test-exec.XXXXXX";
    struct agent a;

    if (asprintf(&path_of_agent, "%s/tests/unit/agent/agent-native", build ? build : ".") < 0 || !mkdtemp(dir))
        return 99;
    signal(SIGPIPE, SIG_IGN);
    start(&a);
    handshake(&a);
    test_basic(&a);
    test_context(&a);
    test_failures(&a, dir);
    test_stdin(&a);
    test_volume(&a);
    test_window(&a);
    test_background(&a);
    test_signals(&a);
    test_tty(&a);
    test_many(&a);
    finish(&a, 0);
    test_shutdown();
    test_hostile();
    rmdir(dir);
    free(path_of_agent);
    return tap_done();
}
