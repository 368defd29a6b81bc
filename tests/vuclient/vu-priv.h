/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the files of vuclient. */
#ifndef VU_PRIV_H
#define VU_PRIV_H

#include "mb-macros.h"
#include "vuclient.h"

/* A TAP comment, unless vu_quiet. */
void vu_diag(const char *fmt, ...) MB_PRINTF(1, 2);

/* Rings and slots of a queue in guest memory. 0 or -errno. */
int vu_ring_new(struct vu *vu, unsigned index);
void vu_ring_free(struct vu *vu, unsigned index);

#endif
