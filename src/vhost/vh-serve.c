/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The common part of every back-end's main() behind the options: socket,
 * signals, and front-ends one after the other; see vh-main.h.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-log.h"
#include "vh-dev-priv.h"
#include "vh-main.h"
#include "vh-mem.h"

/* Draining the queues after SIGTERM may take so long; then the process ends anyway. */
#define STOP_SECONDS 5

/* ---- the socket ---------------------------------------------------------------------------- */

/* Whether someone serves the socket that is there already. */
static bool
is_served(const struct sockaddr_un *addr)
{
    mb_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return true;
    /* EAGAIN: alive, its backlog is full. */
    return connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN;
}

static int
bind_replacing(int fd, const struct sockaddr_un *addr)
{
    struct stat st;

    if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return -EEXIST;
    if (is_served(addr))
        return -EADDRINUSE;
    if (unlink(addr->sun_path) < 0)
        return -errno;
    return bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
}

static int
listen_on_path(const char *path, int *listen_fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    mb_autofd int fd = -1;
    mode_t mask;
    int r;

    if (strlen(path) >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Whoever may connect gets at the data: the owner alone. */
    mask = umask(0177);
    r = bind_replacing(fd, &addr);
    umask(mask);
    if (r < 0)
        return r;
    if (listen(fd, 1) < 0)
        return -errno;
    *listen_fd = mb_steal_fd(&fd);
    return 0;
}

static int
take_over_fd(int fd, int *listen_fd, int *conn_fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    int r;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return -errno;
    r = mb_set_cloexec(fd, true);
    if (r == 0)
        r = mb_set_nonblock(fd, false);
    if (r < 0)
        return r;
    *(listening ? listen_fd : conn_fd) = fd;
    return 0;
}

int
vh_main_listen(const struct vh_main_options *opts, int *listen_fd, int *conn_fd)
{
    int r;

    *listen_fd = *conn_fd = -1;
    if (opts->exit_with_parent) {
        pid_t parent = getppid();

        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent) {
            mb_error("the parent process is gone");
            return -ESRCH;
        }
    }
    if (opts->socket_path) {
        r = listen_on_path(opts->socket_path, listen_fd);
        if (r < 0)
            mb_error("socket '%s': %s", opts->socket_path, strerror(-r));
    } else {
        r = take_over_fd(opts->fd, listen_fd, conn_fd);
        if (r < 0)
            mb_error("descriptor %d: %s", opts->fd, strerror(-r));
    }
    return r;
}

/* ---- SIGHUP --------------------------------------------------------------------------------- */

static int reload_fd = -1;

static void
on_hangup_signal(int sig MB_UNUSED)
{
    const uint64_t one = 1;
    int saved = errno;
    ssize_t ignored = write(reload_fd, &one, sizeof(one));

    (void)ignored;
    errno = saved;
}

static void
on_reload(void *data, uint32_t events MB_UNUSED)
{
    struct vh_dev *dev = data;
    uint64_t count;
    int r;

    if (read(reload_fd, &count, sizeof(count)) < 0 || !dev->ops->reload(dev->opaque))
        return;
    r = vh_dev_config_changed(dev);
    /* Without a front-end there is nobody to tell: the next one asks. */
    if (r < 0 && r != -ENOTSUP)
        mb_warn("%s: the front-end cannot be told of the change: %s", dev->ops->name, strerror(-r));
}

/* Devices that can reload do so at SIGHUP; the others end, as programs do. */
static int
watch_hangup(struct vh_dev *dev, struct vh_loop *loop)
{
    struct sigaction hangup = {.sa_handler = on_hangup_signal, .sa_flags = SA_RESTART};
    sigset_t unblock;
    int r;

    if (!dev->ops->reload)
        return 0;
    reload_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reload_fd < 0)
        return -errno;
    r = vh_loop_add(loop, reload_fd, EPOLLIN, on_reload, dev);
    if (r < 0)
        return r;
    sigaction(SIGHUP, &hangup, NULL);
    sigemptyset(&unblock);
    sigaddset(&unblock, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &unblock, NULL);
    return 0;
}

/* ---- signals, serving -------------------------------------------------------------------------- */

static struct vh_loop *main_loop;

static void
on_stop_signal(int sig MB_UNUSED)
{
    alarm(STOP_SECONDS);
    if (main_loop)
        vh_loop_quit(main_loop);
}

/* The queues do not drain: what is in flight stays noted in the in-flight region. */
static void
on_alarm(int sig MB_UNUSED)
{
    static const char text[] = "error: requests did not end in time, giving up\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)ignored;
    _exit(EXIT_FAILURE);
}

static void
set_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop_signal}, late = {.sa_handler = on_alarm};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t unblock;

    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGALRM, &late, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(&unblock);
    sigaddset(&unblock, SIGTERM);
    sigaddset(&unblock, SIGINT);
    sigaddset(&unblock, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &unblock, NULL);
    vh_mem_catch_sigbus();
}

static void
signal_ready(int fd)
{
    int r;

    if (fd < 0)
        return;
    r = mb_write_full(fd, "\n", 1);
    if (r < 0)
        mb_warn("ready descriptor %d: %s", fd, strerror(-r));
    close(fd);
}

struct acceptor {
    int listen_fd;
    int conn_fd;
};

static void
on_connection(void *data, uint32_t events MB_UNUSED)
{
    struct acceptor *a = data;

    if (a->conn_fd < 0)
        a->conn_fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (a->conn_fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        mb_warn_limited("accept: %m");
}

/* Wait for a front-end: its socket, -1 when told to quit, or -errno. */
static int
next_front_end(struct vh_loop *loop, int listen_fd, int *conn_fd)
{
    struct acceptor a = {listen_fd, -1};
    int r;

    r = vh_loop_add(loop, listen_fd, EPOLLIN, on_connection, &a);
    if (r < 0)
        return r;
    while (r == 0 && a.conn_fd < 0)
        r = vh_loop_step(loop, -1);
    /* The next one waits in the backlog while this one is served. */
    vh_loop_del(loop, listen_fd);
    *conn_fd = a.conn_fd;
    return a.conn_fd >= 0 ? 0 : r;
}

static int
serve_all(const struct vh_main_options *opts, struct vh_dev *dev, struct vh_loop *loop, int listen_fd,
          int conn_fd)
{
    for (;;) {
        int r = 0;

        if (conn_fd < 0)
            r = next_front_end(loop, listen_fd, &conn_fd);
        if (r == 0) {
            r = vh_dev_serve(dev, loop, mb_steal_fd(&conn_fd));
            /* Someone who only looked whether the socket is served was no front-end. */
            if (r <= 0 && (opts->reconnect || !dev->talked) && listen_fd >= 0)
                continue;
        }
        mb_close(conn_fd);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
}

int
vh_main_serve(const struct vh_main_options *opts, struct vh_dev *dev, int listen_fd, int conn_fd)
{
    struct vh_loop *loop = vh_loop_new();
    int status = EXIT_FAILURE;

    if (loop && watch_hangup(dev, loop) == 0) {
        main_loop = loop;
        set_signals();
        signal_ready(opts->ready_fd);
        status = serve_all(opts, dev, loop, listen_fd, conn_fd);
        main_loop = NULL;
    } else {
        mb_error("event loop: %m");
        mb_close(conn_fd);
    }
    vh_loop_free(loop);
    mb_close(listen_fd);
    return status;
}
