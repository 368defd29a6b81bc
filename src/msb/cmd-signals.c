/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd-signals.h"

static int signal_fd = -1;

struct _CmdWatch {
    GThread *thread;
    CmdWatchFunc func;
    gpointer data;
    int end_fd;
    int caught; /* the thread's until it is joined */
};

void
cmd_signals_init(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    if (signal_fd >= 0)
        return;
    sigemptyset(&set);
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
        struct sigaction old;

        /* nohup(1) and background jobs of simple shells ignore some of them: leave it so. */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue;
        sigaddset(&set, numbers[i]);
    }
    sigaction(SIGPIPE, &ignore, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0)
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int
cmd_signals_fd(void)
{
    return signal_fd;
}

int
cmd_signals_next(void)
{
    struct signalfd_siginfo info;

    if (signal_fd < 0 || read(signal_fd, &info, sizeof(info)) != sizeof(info))
        return 0;
    return (int)info.ssi_signo;
}

static gpointer
watch_thread(gpointer data)
{
    CmdWatch *watch = data;
    struct pollfd fds[2] = {{.fd = signal_fd, .events = POLLIN}, {.fd = watch->end_fd, .events = POLLIN}};

    for (;;) {
        int signum;

        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return NULL;
        }
        if (fds[1].revents)
            return NULL;
        signum = cmd_signals_next();
        if (signum == 0 || signum == SIGWINCH)
            continue;
        if (!watch->caught)
            watch->caught = signum;
        watch->func(watch->data);
    }
}

CmdWatch *
cmd_watch_begin(CmdWatchFunc func, gpointer data)
{
    CmdWatch *watch = g_new0(CmdWatch, 1);

    watch->func = func;
    watch->data = data;
    watch->end_fd = eventfd(0, EFD_CLOEXEC);
    if (signal_fd >= 0 && watch->end_fd >= 0)
        watch->thread = g_thread_new("signals", watch_thread, watch);
    return watch;
}

int
cmd_watch_end(CmdWatch *watch)
{
    static const guint64 one = 1;
    int caught;

    if (watch->thread) {
        if (write(watch->end_fd, &one, sizeof(one)) != sizeof(one))
            g_warning("cannot end the signal watch");
        g_thread_join(watch->thread);
    }
    if (watch->end_fd >= 0)
        close(watch->end_fd);
    caught = watch->caught;
    g_free(watch);
    return caught;
}
