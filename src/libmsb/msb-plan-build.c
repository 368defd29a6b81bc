/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan itself: names, identity, kernel command line, limits.  Devices and
 * the boot frame are made by msb-plan-devices.c and msb-plan-boot.c.  Nothing
 * here touches the host.
 */
#include <config.h>

#include <string.h>
#include <sys/un.h>

#include "msb-error.h"
#include "msb-plan-private.h"

#define AGENT_SOCKET "agent.sock"
#define CONTROL_SOCKET "control.sock"

static void
device_free(MsbDevice *device)
{
    g_free(device->id);
    g_free(device->target);
    g_free(device->socket);
    g_strfreev(device->argv);
    g_free(device);
}

void
msb_plan_free(MsbPlan *plan)
{
    if (!plan)
        return;
    g_free(plan->name);
    g_free(plan->domain_name);
    g_free(plan->title);
    g_free(plan->uuid);
    g_free(plan->run_dir);
    g_free(plan->state_dir);
    g_free(plan->image);
    g_free(plan->accel);
    g_free(plan->vmlinux);
    g_free(plan->initrd);
    g_free(plan->cmdline);
    g_free(plan->console_log);
    g_free(plan->agent_socket);
    g_ptr_array_unref(plan->devices);
    mp_boot_clear(&plan->boot);
    g_free(plan);
}

char *
msb_plan_domain_name(const char *name)
{
    return g_strconcat("msb-", name, NULL);
}

/* A name-based UUID (RFC 4122, version 5 in form; the hash is SHA-256). */
char *
msb_plan_uuid(const MsbHome *home, const char *name)
{
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    guint8 d[32];
    gsize len = sizeof d;

    g_checksum_update(checksum, (const guchar *)"msb sandbox", sizeof "msb sandbox");
    g_checksum_update(checksum, (const guchar *)msb_home_get_path(home), (gssize)strlen(msb_home_get_path(home)) + 1);
    g_checksum_update(checksum, (const guchar *)name, (gssize)strlen(name));
    g_checksum_get_digest(checksum, d, &len);
    d[6] = (guint8)((d[6] & 0x0f) | 0x50);
    d[8] = (guint8)((d[8] & 0x3f) | 0x80);
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1], d[2],
                           d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

static char *
make_cmdline(const MsbPlanInput *in)
{
    g_autoptr(GString) line = g_string_new("quiet panic=-1 reboot=t console=ttyS0 rdinit=/init");

    /* Without KVM a busy host makes the guest's calibration fail and its clock hang for ever. */
    if (g_str_equal(in->accel, "tcg") && in->tsc_khz)
        g_string_append_printf(line, " tsc=reliable tsc_early_khz=%u", in->tsc_khz);
    return g_string_free(g_steal_pointer(&line), FALSE);
}

/* Every socket of the run is in one directory: judge the longest name. */
static gboolean
check_socket_paths(const MsbPlan *plan, GError **error)
{
    const gsize limit = sizeof ((struct sockaddr_un *)NULL)->sun_path - 1;
    gsize longest = strlen(CONTROL_SOCKET);
    guint i;

    for (i = 0; i < plan->devices->len; i++) {
        const MsbDevice *device = g_ptr_array_index(plan->devices, i);
        const char *base = strrchr(device->socket, '/') + 1;

        longest = MAX(longest, strlen(base));
    }
    if (strlen(plan->run_dir) + 1 + longest <= limit)
        return TRUE;
    return msb_error_set(error, MSB_ERROR_INVALID,
                         "the sockets of sandbox '%s' would be in '%s', and their paths longer than the "
                         "%" G_GSIZE_FORMAT " bytes that Unix sockets allow; set MSB_HOME to a shorter directory",
                         plan->name, plan->run_dir, limit);
}

MsbPlan *
msb_plan_build(const MsbPlanInput *in, GError **error)
{
    const char *name = msb_config_get_name(in->config);
    g_autoptr(MsbPlan) plan = g_new0(MsbPlan, 1);

    plan->name = g_strdup(name);
    plan->domain_name = msb_plan_domain_name(name);
    plan->uuid = msb_plan_uuid(in->home, name);
    plan->run_dir = msb_home_run_dir(in->home, name);
    plan->state_dir = msb_home_sandbox_dir(in->home, name);
    plan->image = g_strdup(in->image_reference ? in->image_reference : msb_config_get_image(in->config));
    plan->title = g_strdup_printf("msb sandbox %s (%s)", name, plan->image);
    plan->created = msb_config_get_created(in->config);
    plan->cpus = msb_config_get_cpus(in->config);
    plan->memory_mib = msb_config_get_memory_mib(in->config);
    plan->accel = g_strdup(in->accel);
    plan->vmlinux = g_strdup(in->vmlinux);
    plan->initrd = g_strdup(in->initrd);
    plan->cmdline = make_cmdline(in);
    plan->console_log = g_build_filename(plan->state_dir, "logs", "console.log", NULL);
    plan->agent_socket = g_build_filename(plan->run_dir, AGENT_SOCKET, NULL);
    plan->devices = g_ptr_array_new_with_free_func((GDestroyNotify)device_free);
    plan->system = in->system;
    if (!msb_plan_add_devices(plan, in, error) || !check_socket_paths(plan, error))
        return NULL;
    msb_plan_fill_boot(plan, in);
    return g_steal_pointer(&plan);
}
