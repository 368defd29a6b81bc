/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives an agent in a guest from a shell test: sends BOOT as the options say,
 * runs commands one after the other, and prints what came.
 *
 *     agent-driver --connect=SOCKET --root=KIND:SOURCE[:FSTYPE[:PARTITION]] [--layers=N] [--modules=SERIAL:PARTITION:VERSION]
 *         [--mount=KIND,SOURCE,TARGET,FLAGS,FSTYPE,NAME,SIZE,PARTITION]... [--hostname=H] [--host=LINE]... [--env=K=V]...
 *         [--user=U] [--workdir=D] [--shell=S] [--restricted] [--realtime=NS] [--timeout=SECONDS]
 *         [--run='SHELL COMMAND' | --tty='SHELL COMMAND' | --as=USER | --wait-end | --shutdown=GRACE_MS]...
 *
 *     agent-driver --print-tsc-khz
 *
 * Output: one line per event, "ready NS NS NS NS NS VERSION", "boot-failed STAGE ERRNO OBJECT: MESSAGE",
 * "out: LINE" and "exit CODE" or "signal N" or "failed KIND ERRNO OBJECT", "end" when the agent is gone.
 */
#include <config.h>

#include <getopt.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent-host.h"

#define MOUNTS 64
#define ACTIONS 128
#define WORDS 64

enum { O_CONNECT = 1, O_ROOT, O_LAYERS, O_MODULES, O_MOUNT, O_HOSTNAME, O_HOST, O_ENV, O_USER, O_WORKDIR, O_SHELL,
       O_RESTRICTED, O_REALTIME, O_TIMEOUT, O_RUN, O_TTY, O_AS, O_WAIT_END, O_SHUTDOWN, O_TSC };

static const struct option options[] = {
    { "connect", 1, NULL, O_CONNECT },   { "root", 1, NULL, O_ROOT },
    { "layers", 1, NULL, O_LAYERS },     { "modules", 1, NULL, O_MODULES },
    { "mount", 1, NULL, O_MOUNT },       { "hostname", 1, NULL, O_HOSTNAME },
    { "host", 1, NULL, O_HOST },         { "env", 1, NULL, O_ENV },
    { "user", 1, NULL, O_USER },         { "workdir", 1, NULL, O_WORKDIR },
    { "shell", 1, NULL, O_SHELL },       { "restricted", 0, NULL, O_RESTRICTED },
    { "realtime", 1, NULL, O_REALTIME }, { "timeout", 1, NULL, O_TIMEOUT },
    { "run", 1, NULL, O_RUN },           { "tty", 1, NULL, O_TTY },
    { "as", 1, NULL, O_AS },             { "wait-end", 0, NULL, O_WAIT_END },
    { "shutdown", 1, NULL, O_SHUTDOWN }, { "print-tsc-khz", 0, NULL, O_TSC },
    { NULL, 0, NULL, 0 },
};

struct driver {
    const char *socket;
    struct mp_boot boot;
    struct mp_mount mounts[MOUNTS];
    char *hosts[WORDS], *env[WORDS];
    unsigned n_hosts, n_env;
    struct { int what; char *arg; } actions[ACTIONS];
    unsigned n_actions;
    struct host host;
};

static void
die(const char *what)
{
    fprintf(stderr, "agent-driver: %s: %s\n", what, strerror(errno));
    exit(2);
}

static char *
cut(char **p, char sep)
{
    char *word = *p, *end = word ? strchr(word, sep) : NULL;

    if (end)
        *end = '\0';
    *p = end ? end + 1 : NULL;
    return word ? word : (char *)"";
}

static void
parse_root(struct mp_boot *b, char *arg)
{
    char *kind = cut(&arg, ':');

    b->root_kind = !strcmp(kind, "overlay") ? MP_ROOT_OVERLAY
                   : !strcmp(kind, "virtiofs") ? MP_ROOT_VIRTIOFS
                   : !strcmp(kind, "disk") ? MP_ROOT_DISK : 99;
    b->root_source = cut(&arg, ':');
    b->root_fstype = cut(&arg, ':');
    b->root_partition = (uint32_t)atoi(cut(&arg, ':'));
}

static void
parse_mount(struct driver *d, char *arg)
{
    struct mp_mount *m = &d->mounts[d->boot.n_mounts++];
    char *kind = cut(&arg, ',');
    const char *flags;

    if (d->boot.n_mounts > MOUNTS)
        exit(2);
    m->kind = !strcmp(kind, "virtiofs") ? MP_MOUNT_VIRTIOFS : !strcmp(kind, "disk") ? MP_MOUNT_DISK
              : !strcmp(kind, "tmpfs") ? MP_MOUNT_TMPFS : 99;
    m->source = cut(&arg, ',');
    m->target = cut(&arg, ',');
    flags = cut(&arg, ',');
    m->flags = (strstr(flags, "ro") ? MP_MOUNT_RO : 0) | (strstr(flags, "noexec") ? MP_MOUNT_NOEXEC : 0) |
               (strstr(flags, "nosuid") ? MP_MOUNT_NOSUID : 0) | (strstr(flags, "nodev") ? MP_MOUNT_NODEV : 0) |
               (strstr(flags, "file") ? MP_MOUNT_FILE : 0);
    m->fstype = cut(&arg, ',');
    m->name = cut(&arg, ',');
    m->size = strtoull(cut(&arg, ','), NULL, 10);
    m->partition = (uint32_t)atoi(cut(&arg, ','));
}

static void
parse_modules(struct mp_boot *b, char *arg)
{
    b->modules_source = cut(&arg, ':');
    b->modules_partition = (uint32_t)atoi(cut(&arg, ':'));
    b->kernel_version = cut(&arg, ':');
}

static void
add_action(struct driver *d, int what, char *arg)
{
    if (d->n_actions == ACTIONS)
        exit(2);
    d->actions[d->n_actions].what = what;
    d->actions[d->n_actions++].arg = arg;
}

/* The host's TSC rate, which a guest under TCG cannot find out by itself when the host is busy. */
static void
print_tsc_khz(void)
{
#ifdef __x86_64__
    struct timespec a, b;
    uint64_t start, ns;

    clock_gettime(CLOCK_MONOTONIC_RAW, &a);
    start = __builtin_ia32_rdtsc();
    do {
        clock_gettime(CLOCK_MONOTONIC_RAW, &b);
        ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
    } while (ns < 100000000u);
    printf("%llu\n", (unsigned long long)((__builtin_ia32_rdtsc() - start) * 1000000u / ns));
#endif
}

static void
parse(struct driver *d, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case O_CONNECT: d->socket = optarg; break;
        case O_ROOT: parse_root(&d->boot, optarg); break;
        case O_LAYERS: d->boot.n_layers = (uint32_t)atoi(optarg); break;
        case O_MODULES: parse_modules(&d->boot, optarg); break;
        case O_MOUNT: parse_mount(d, optarg); break;
        case O_HOSTNAME: d->boot.hostname = optarg; break;
        case O_HOST: d->hosts[d->n_hosts++ % (WORDS - 1)] = optarg; break;
        case O_ENV: d->env[d->n_env++ % (WORDS - 1)] = optarg; break;
        case O_USER: d->boot.user = optarg; break;
        case O_WORKDIR: d->boot.workdir = optarg; break;
        case O_SHELL: d->boot.shell = optarg; break;
        case O_RESTRICTED: d->boot.flags |= MP_BOOT_RESTRICTED; break;
        case O_REALTIME: d->boot.realtime_ns = strtoull(optarg, NULL, 10); break;
        case O_TIMEOUT: d->host.timeout_ms = atoi(optarg) * 1000; break;
        case O_RUN: case O_TTY: case O_AS: case O_WAIT_END: case O_SHUTDOWN: add_action(d, c, optarg); break;
        case O_TSC: print_tsc_khz(); exit(0);
        default: exit(2);
        }
    }
    d->boot.mounts = d->mounts;
    d->boot.hosts = d->hosts;
    d->boot.env = d->env;
}

static void
connect_to(struct driver *d)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (!d->socket || strlen(d->socket) >= sizeof(addr.sun_path))
        exit(2);
    strcpy(addr.sun_path, d->socket);
    d->host.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (d->host.fd < 0 || connect(d->host.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        die(d->socket);
}

static void
print_lines(const char *prefix, const char *text)
{
    while (text && *text) {
        size_t n = strcspn(text, "\n");

        printf("%s%.*s\n", prefix, (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void
print_ready(const uint8_t *p, size_t n)
{
    struct mp_ready m = { 0 };

    if (mp_ready_decode(&m, p, n) < 0)
        exit(3);
    printf("ready %llu %llu %llu %llu %llu %s\n", (unsigned long long)m.started_ns, (unsigned long long)m.port_ns,
           (unsigned long long)m.boot_ns, (unsigned long long)m.root_ns, (unsigned long long)m.ready_ns,
           m.agent_version);
    mp_ready_clear(&m);
}

static void
print_boot_failed(const uint8_t *p, size_t n)
{
    struct mp_boot_failed m = { 0 };

    if (mp_boot_failed_decode(&m, p, n) < 0)
        exit(3);
    printf("boot-failed %s %u %s: %s\n", mp_stage_name(m.stage), m.error, m.object, m.message);
    mp_boot_failed_clear(&m);
}

/* HELLO, BOOT, READY: false when the guest does not come up. */
static bool
boot(struct driver *d)
{
    struct mp_header h;
    const uint8_t *p;
    struct mp_enc e = { 0 };
    int r;

    while ((r = host_next(&d->host, &h, &p)) == 1) {
        if (h.type == MP_HELLO) {
            if (mp_boot_encode(&e, &d->boot) < 0 || host_send(&d->host, &e) < 0)
                die("boot frame");
        } else if (h.type == MP_READY) {
            print_ready(p, h.length);
            return true;
        } else if (h.type == MP_BOOT_FAILED) {
            print_boot_failed(p, h.length);
        }
    }
    printf(r == 0 ? "end\n" : "error %d\n", -r);
    return false;
}

static void
run(struct driver *d, const char *command, const char *user, bool tty, uint32_t session)
{
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)command, NULL };
    struct mp_exec m = { .argv = argv, .user = (char *)user, .tty = tty, .rows = 33, .cols = 77, .no_stdin = 1 };
    struct host_result res = { 0 };
    int r = host_exec(&d->host, session, &m);

    if (r == 0)
        r = host_finish(&d->host, session, &res);
    print_lines("out: ", res.out);
    print_lines("err: ", res.err);
    if (r < 0)
        printf("error %d\n", -r);
    else if (res.failed)
        printf("failed %u %u %s\n", res.kind, res.error, res.object);
    else
        printf("%s %u\n", res.signalled ? "signal" : "exit", res.code);
    host_result_clear(&res);
}

static void
wait_end(struct driver *d)
{
    struct mp_header h;
    const uint8_t *p;
    int r;

    while ((r = host_next(&d->host, &h, &p)) == 1)
        ;
    printf(r == 0 ? "end\n" : "error %d\n", -r);
}

int
main(int argc, char **argv)
{
    static struct driver d = { .host.timeout_ms = 180000 };
    const char *user = NULL;

    setvbuf(stdout, NULL, _IOLBF, 0);
    parse(&d, argc, argv);
    connect_to(&d);
    if (!boot(&d))
        return 1;
    for (unsigned i = 0; i < d.n_actions; i++) {
        char *arg = d.actions[i].arg;

        switch (d.actions[i].what) {
        case O_RUN: run(&d, arg, user, false, i + 1); break;
        case O_TTY: run(&d, arg, user, true, i + 1); break;
        case O_AS: user = arg; break;
        case O_WAIT_END: wait_end(&d); break;
        case O_SHUTDOWN:
            if (host_shutdown(&d.host, (uint32_t)atoi(arg), MP_SHUTDOWN_POWEROFF) < 0)
                die("shutdown");
            wait_end(&d);
            break;
        }
    }
    mp_reader_clear(&d.host.in);
    close(d.host.fd);
    return 0;
}
