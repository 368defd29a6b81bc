/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pseudo-terminals.  The slave comes from the master's descriptor, not by its name. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

int
ag_pty_open(uint16_t rows, uint16_t cols, int *master, int *slave)
{
    mb_autofd int m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    mb_autofd int s = -1;
    int unlock = 0;

    if (m < 0 || ioctl(m, TIOCSPTLCK, &unlock) < 0)
        return -errno;
    s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (s < 0)
        return -errno;
    ag_pty_resize(m, rows, cols);
    *master = mb_steal_fd(&m);
    *slave = mb_steal_fd(&s);
    return 0;
}

void
ag_pty_resize(int master, uint16_t rows, uint16_t cols)
{
    struct winsize ws = { .ws_row = rows, .ws_col = cols };

    ioctl(master, TIOCSWINSZ, &ws);
}
