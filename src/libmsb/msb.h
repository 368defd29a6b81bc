/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libmsb: the one header that programs include. */
#ifndef MSB_H
#define MSB_H

#include "msb-client.h"
#include "msb-config.h"
#include "msb-error.h"
#include "msb-host.h"
#include "msb-image.h"
#include "msb-kernel.h"
#include "msb-login.h"
#include "msb-logs.h"
#include "msb-paths.h"
#include "msb-pull.h"
#include "msb-sandbox.h"
#include "msb-volumes.h"

#endif
