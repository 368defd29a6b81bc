/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Image references: [REGISTRY/]REPOSITORY[:TAG][@DIGEST], as docker users write
 * them.  Without a registry it is docker.io, there a single name is in
 * library/; without tag and digest the tag is "latest".  Internal to libmsb.
 */
#ifndef MSB_REFERENCE_H
#define MSB_REFERENCE_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    char *registry;      /* "docker.io", "localhost:5000" */
    char *repository;    /* "library/python" */
    char *tag;           /* NULL only with a digest */
    char *digest;        /* may be NULL */
} MsbReference;

/* INVALID quotes the reference and says what is wrong with it. */
MsbReference *msb_reference_parse(const char *text, GError **error);
void msb_reference_free(MsbReference *reference);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbReference, msb_reference_free)

/* The full form (transfer full). */
char *msb_reference_to_string(const MsbReference *reference);
/* The same without the digest, if it has a tag (transfer full). */
char *msb_reference_dup_name(const MsbReference *reference);

G_END_DECLS

#endif
