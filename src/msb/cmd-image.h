/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands of `msb image` that live in other files than cmd-image.c. */
#ifndef CMD_IMAGE_H
#define CMD_IMAGE_H

#include "cmd.h"

#define CMD_SHORT_DIGEST 19 /* "sha256:" and 12 digits */

extern const CmdCommand cmd_image_tag, cmd_image_history, cmd_image_prune;

#endif
