/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX ACLs as attributes have them (linux/posix_acl_xattr.h), in the byte
 * order of this machine, which has to be the little one.
 */
#ifndef PX_ACL_H
#define PX_ACL_H

#include <stdint.h>

#define PX_ACL_ACCESS "system.posix_acl_access"
#define PX_ACL_DEFAULT "system.posix_acl_default"

enum { PX_ACL_OWNER = 1, PX_ACL_USER = 2, PX_ACL_GROUP = 4, PX_ACL_MASK = 16, PX_ACL_REST = 32 };

struct px_acl {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } e[5];
};

/* A list with one user in it; the numbers are three bits each, as in a mode. */
static inline struct px_acl
px_acl_make(unsigned owner, uint32_t uid, unsigned user, unsigned group, unsigned mask, unsigned rest)
{
    return (struct px_acl){
        2,
        {{PX_ACL_OWNER, (uint16_t)(owner & 7), UINT32_MAX},
         {PX_ACL_USER, (uint16_t)(user & 7), uid},
         {PX_ACL_GROUP, (uint16_t)(group & 7), UINT32_MAX},
         {PX_ACL_MASK, (uint16_t)(mask & 7), UINT32_MAX},
         {PX_ACL_REST, (uint16_t)(rest & 7), UINT32_MAX}},
    };
}

#endif
