/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this machine has of what sandboxes need, for "msb doctor" and for programs that want to tell their users. */
#ifndef MSB_HOST_H
#define MSB_HOST_H

#include "msb-paths.h"

G_BEGIN_DECLS

typedef enum {
    MSB_CHECK_OK,
    MSB_CHECK_WARNING,     /* sandboxes run, but not as well as they could */
    MSB_CHECK_FAILED,      /* sandboxes do not run */
} MsbCheckResult;

typedef struct {
    const char *name;      /* "libvirt", "kernel", ...: for ever the same for the same check */
    MsbCheckResult result;
    char *found;           /* what there is, or what is wrong */
    char *hint;            /* what to do about it, or NULL */
} MsbCheck;

void msb_check_free(MsbCheck *check);

/* Make all checks, in the order in which a start would meet them (transfer full, element-type MsbCheck). Nothing
 * is changed but for the initrd, which is made if it is not there yet. */
GPtrArray *msb_host_check(MsbHome *home);

/* The accelerator a sandbox would get, "kvm" or "tcg" (transfer full): configured (may be NULL), else $MSB_ACCEL, else
 * what the machine can do. *why (may be NULL) gets one line when it is not the fast one. */
char *msb_host_choose_accel(const char *configured, char **why, GError **error);

G_END_DECLS

#endif
