/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of booting.  Each step says which stage it is, so that a failure
 * tells where.  The host waits for READY with a command in its hand: whatever
 * the command does not need is done later, in a child, off its way.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define LATER_MS 300

int
ag_boot_open_port(struct ag_agent *a, struct ag_error *e)
{
    char path[64];
    int r, fd;

    e->stage = MP_STAGE_MODULES;
    r = ag_module_load_list(AT_FDCWD, "/modules", false, e);
    if (r < 0)
        return r;
    e->stage = MP_STAGE_DEVICES;
    a->events = ag_dev_events();
    if (a->events < 0)
        return ag_fail(e, -a->events, "uevents", "Device events cannot be received");
    r = ag_dev_wait_port(a->events, MP_PORT_NAME, path, e);
    if (r < 0)
        return r;
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? ag_fail(e, errno, path, "The agent's port cannot be opened") : fd;
}

/* Whether the modules that are put off are needed now: shares, or random numbers on a CPU that has none. */
static bool
needs_optional(const struct mp_boot *boot)
{
    bool found = boot->root_kind == MP_ROOT_VIRTIOFS;
    char byte;

    if (getrandom(&byte, 1, GRND_NONBLOCK) < 0)
        return true;
    for (unsigned i = 0; i < boot->n_mounts; i++)
        found = found || boot->mounts[i].kind == MP_MOUNT_VIRTIOFS;
    return found;
}

int
ag_boot_system(struct ag_agent *a, const struct mp_boot *boot, struct ag_error *e)
{
    int r;

    ag_system_clock(boot->realtime_ns);
    e->stage = MP_STAGE_MODULES;
    r = needs_optional(boot) ? ag_module_load_list(AT_FDCWD, "/modules", true, e) : 0;
    if (r < 0)
        return r;
    e->stage = MP_STAGE_ROOT;
    r = ag_root_assemble(&a->root, boot, a->events, e);
    if (r < 0)
        return r;
    a->ready.root_ns = ag_now_ns();
    e->stage = MP_STAGE_SYSTEM;
    r = ag_system_mounts(&a->root, boot, e);
    if (r == 0)
        r = ag_system_names(boot, e);
    if (r == 0) {
        a->defaults.proc_fd = ag_mount_new("proc", "proc", NULL, false, 0, e);
        r = MB_MIN(a->defaults.proc_fd, 0);
    }
    if (r < 0)
        return r;
    e->stage = MP_STAGE_MOUNT;
    r = ag_mount_user(a->root.fd, boot, a->events, a->root.modules_fd, e);
    if (r < 0)
        return r;
    e->stage = MP_STAGE_PIVOT;
    r = ag_root_pivot(&a->root, &a->old_fd, e);
    a->pivoted = r == 0;
    if (r < 0)
        return r;
    a->grow.proc_fd = &a->defaults.proc_fd;
    a->grow.upper_fd = &a->root.upper_fd;
    r = ag_grow_start(&a->grow, &a->loop, mb_steal_fd(&a->events), boot);
    return r < 0 ? ag_fail(e, -r, "uevents", "Changes of disks cannot be watched") : 0;
}

static void
power_pressed(struct ag_power *p)
{
    ag_serve_stop(MB_CONTAINER_OF(p, struct ag_agent, power), 10000, false);
}

/* The console, the power button, modules that nobody waited for; then the initramfs can go. */
static void
later(struct ag_timer *t)
{
    struct ag_agent *a = MB_CONTAINER_OF(t, struct ag_agent, later);
    int r = ag_console_start(&a->console, &a->loop, &a->defaults);
    pid_t pid;

    if (r < 0)
        ag_log(a, LOG_WARNING, "no shell on the console: %s", strerror(-r));
    a->power.pressed = power_pressed;
    r = ag_power_start(&a->power, &a->loop);
    if (r < 0)
        ag_log(a, LOG_WARNING, "the power button is not heard: %s", strerror(-r));
    pid = fork();
    if (pid == 0) {
        struct ag_error ignored = { 0 };

        if (ag_module_load_list(a->old_fd, "modules", true, &ignored) == 0 && a->root.modules_fd >= 0)
            (void)!ag_module_probe(a->root.modules_fd, "button");
        ag_root_forget(a->old_fd);
        _exit(0);
    }
    mb_close(a->old_fd);
    a->old_fd = -1;
}

void
ag_boot_later(struct ag_agent *a)
{
    a->later.cb = later;
    ag_timer_arm(&a->loop, &a->later, LATER_MS * UINT64_C(1000000));
}
