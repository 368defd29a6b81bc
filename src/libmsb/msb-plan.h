/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan: everything about one run of a sandbox that can be decided before
 * anything is started.  Pure: config + image + kernel + directories in, a list
 * of back-ends to start, the domain's devices, and the agent's boot frame out.
 * The supervisor carries it out; msb-domain-xml turns it into libvirt XML.
 */
#ifndef MSB_PLAN_H
#define MSB_PLAN_H

#include <glib.h>

#include "msb-config.h"
#include "msb-image.h"
#include "msb-kernel.h"
#include "mp-msg.h"

G_BEGIN_DECLS

typedef enum { MSB_DEVICE_BLK, MSB_DEVICE_FS } MsbDeviceKind;

typedef struct {
    MsbDeviceKind kind;
    char *id;          /* serial of a disk (<= 20 bytes), tag of a filesystem (<= 36): "layers", "upper", "m0" */
    char *target;      /* of a mount, its place in the guest, for messages; otherwise NULL */
    char *socket;      /* vhost-user socket, in the run directory */
    char **argv;       /* back-end program and its arguments, --socket-path included */
    gboolean readonly;
    gboolean can_grow; /* the back-end makes the disk larger when it is asked to, as --resize-fd */
    gboolean journal;  /* the back-end wants a memory file that outlives it, as --journal-fd */
    guint queues;
} MsbDevice;

typedef struct {
    char *name;            /* sandbox */
    char *domain_name;     /* "msb-<name>" */
    char *title;
    char *uuid;            /* stable per sandbox: from the state directory and the name */
    char *run_dir;
    char *state_dir;       /* sandboxes/<name> */
    char *image;           /* reference, for the metadata element */
    gint64 created;
    guint cpus;
    guint64 memory_mib;
    char *accel;           /* "kvm" or "tcg" */
    char *vmlinux, *initrd, *cmdline;
    char *console_log;     /* logs/console.log */
    char *agent_socket;    /* run/<name>/agent.sock: QEMU listens there */
    GPtrArray *devices;    /* of MsbDevice, in order */
    struct mp_boot boot;   /* realtime_ns is 0: the supervisor sets it when it sends the frame */
    gboolean system;       /* qemu:///system as root: static DAC label */
} MsbPlan;

/* image NULL: the root is a directory or disk image. accel: "kvm" or "tcg". INVALID when a socket's path would
 * be too long, or there are more devices than the machine has room for. */
MsbPlan *msb_plan_new(MsbHome *home, const MsbConfig *config, MsbImage *image, MsbKernel *kernel,
                      const char *initrd, const char *accel, GError **error);
void msb_plan_free(MsbPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbPlan, msb_plan_free)

/* The UUID of a sandbox's domain (transfer full): the same for a state directory and a name, always. */
char *msb_plan_uuid(const MsbHome *home, const char *name);
/* "msb-<name>" (transfer full). */
char *msb_plan_domain_name(const char *name);

/* The domain XML (transfer full). */
char *msb_domain_xml(const MsbPlan *plan, GError **error);

/* "kvm" or "tcg", by config, $MSB_ACCEL, or what the host can do; *why (may be NULL) gets one line
 * when the choice was not the best one ("no KVM: ..."), otherwise NULL. */
char *msb_plan_choose_accel(const char *configured, char **why, GError **error);

G_END_DECLS

#endif
