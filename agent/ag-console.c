/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serial line, for "virsh console": Enter starts a shell, its end brings the
 * invitation back.  While nobody has asked there is no process.  What is typed
 * before the invitation is written is not thrown away: it answers it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

static const char invitation[] = "\r\nPress Enter for a shell.\r\n";

/* The terminal behind /dev/console: the last one that the kernel lists. */
static int
find_tty(char path[64])
{
    char text[128], *name;
    int r = ag_read_line(AT_FDCWD, "/sys/class/tty/console/active", text, sizeof(text));

    if (r < 0)
        return r;
    name = strrchr(text, ' ');
    name = name ? name + 1 : text;
    if (name[0] == '\0' || strchr(name, '/'))
        return -ENODEV;
    snprintf(path, 64, "/dev/%.32s", name);
    return 0;
}

static void
set_sane(int fd)
{
    struct termios t;

    if (tcgetattr(fd, &t) < 0)
        return;
    t.c_iflag = ICRNL | IXON | IUTF8;
    t.c_oflag = OPOST | ONLCR;
    t.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    t.c_cflag |= CLOCAL | CREAD | HUPCL;
    tcsetattr(fd, TCSANOW, &t);
}

static void
invite(struct ag_console *c)
{
    set_sane(c->tty.fd);
    (void)!write(c->tty.fd, invitation, sizeof(invitation) - 1);
    ag_watch_set(c->loop, &c->tty, EPOLLIN);
}

/* In the child: an ordinary command on the terminal. */
static void MB_NORETURN
run_shell(const struct ag_console *c)
{
    const char *shell = c->defaults->shell && c->defaults->shell[0] ? c->defaults->shell : "/bin/sh";
    char *argv[] = { (char *)shell, NULL };
    char *env[] = { (char *)"TERM=vt220", NULL };
    struct mp_exec m = { .argv = argv, .env = env, .tty = 1 };
    struct ag_stdio io = { .tty = c->tty.fd };

    fcntl(c->tty.fd, F_SETFL, O_RDWR);
    ag_exec_child(c->defaults, &m, &io, -1);
}

static void
tty_event(struct ag_watch *w, uint32_t events)
{
    struct ag_console *c = MB_CONTAINER_OF(w, struct ag_console, tty);
    char buf[256];

    if (read(w->fd, buf, sizeof(buf)) <= 0 && errno == EAGAIN)
        return;
    ag_watch_set(c->loop, w, 0);
    c->shell = fork();
    if (c->shell == 0)
        run_shell(c);
    if (c->shell < 0)
        invite(c);
}

int
ag_console_start(struct ag_console *c, struct ag_loop *l, const struct ag_defaults *defaults)
{
    int r = find_tty(c->path);

    if (r < 0)
        return r;
    c->loop = l;
    c->defaults = defaults;
    c->tty.cb = tty_event;
    c->tty.fd = open(c->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (c->tty.fd < 0)
        return -errno;
    invite(c);
    return 0;
}

bool
ag_console_reaped(struct ag_console *c, pid_t pid)
{
    if (c->shell <= 0 || c->shell != pid)
        return false;
    c->shell = 0;
    /* The line was hung up with its session: a new descriptor. */
    ag_watch_close(c->loop, &c->tty);
    c->tty.fd = open(c->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (c->tty.fd >= 0)
        invite(c);
    return true;
}
