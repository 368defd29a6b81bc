/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reference counting of the library's objects, alike for all of them.  Internal. */
#ifndef MSB_REFS_H
#define MSB_REFS_H

#include <glib.h>

/* Defines prefix_ref() and prefix_unref() of a type that has a gatomicrefcount called refs; the last prefix_unref(),
 * which NULL is fine for, calls free_func(object). */
#define MSB_DEFINE_REFS(Type, prefix, free_func) \
    Type *prefix##_ref(Type *object) \
    { \
        g_atomic_ref_count_inc(&object->refs); \
        return object; \
    } \
    void prefix##_unref(Type *object) \
    { \
        if (object && g_atomic_ref_count_dec(&object->refs)) \
            free_func(object); \
    }

#endif
