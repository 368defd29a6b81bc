/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transfers: see the header.  Workers report through a queue that the calling
 * thread empties.
 */
#include <config.h>

#include "msb-transfer.h"

#define TELL_INTERVAL (G_USEC_PER_SEC / 10)

struct _MsbTransfer {
    MsbTransferFunc work;
    GCancellable *cancellable; /* of the workers */
    GAsyncQueue *events;
};

typedef enum { EVENT_PROGRESS, EVENT_END } EventKind;

/* From a worker to the calling thread. */
typedef struct {
    EventKind kind;
    char *what;
    guint64 done, total;
    GError *error; /* EVENT_END */
} Event;

static void
event_free(Event *event)
{
    g_free(event->what);
    g_clear_error(&event->error);
    g_free(event);
}

void
msb_transfer_tell(MsbTransfer *transfer, const char *what, guint64 done, guint64 total, gint64 *told)
{
    gint64 now = g_get_monotonic_time();
    Event *event;

    if (done < total && now - *told < TELL_INTERVAL)
        return;
    *told = now;
    event = g_new0(Event, 1);
    event->kind = EVENT_PROGRESS;
    event->what = g_strdup(what);
    event->done = done;
    event->total = total;
    g_async_queue_push(transfer->events, event);
}

static void
run_job(gpointer job, gpointer data)
{
    MsbTransfer *transfer = data;
    Event *event = g_new0(Event, 1);

    event->kind = EVENT_END;
    transfer->work(transfer, job, transfer->cancellable, &event->error);
    g_async_queue_push(transfer->events, event);
}

static void
cancel_workers(GCancellable *outer G_GNUC_UNUSED, gpointer data)
{
    g_cancellable_cancel(data);
}

/* Empty the queue until n jobs have ended; the first error, or NULL. */
static GError *
wait_for_jobs(MsbTransfer *transfer, guint n, MsbProgressFunc progress, gpointer progress_data)
{
    GError *first = NULL;

    while (n > 0) {
        Event *event = g_async_queue_pop(transfer->events);

        if (event->kind == EVENT_PROGRESS && progress)
            progress(event->what, event->done, event->total, progress_data);
        if (event->kind == EVENT_END) {
            n--;
            if (event->error && !first) {
                first = g_steal_pointer(&event->error);
                g_cancellable_cancel(transfer->cancellable);
            }
        }
        event_free(event);
    }
    return first;
}

gboolean
msb_transfer_run(const GPtrArray *jobs, guint threads, MsbTransferFunc work, MsbProgressFunc progress,
                 gpointer progress_data, GCancellable *cancellable, GError **error)
{
    g_autoptr(GCancellable) inner = g_cancellable_new();
    g_autoptr(GAsyncQueue) events = g_async_queue_new_full((GDestroyNotify)event_free);
    MsbTransfer transfer = {.work = work, .cancellable = inner, .events = events};
    GThreadPool *pool = g_thread_pool_new(run_job, &transfer, (gint)threads, FALSE, error);
    gulong handler = 0;
    GError *first;

    if (!pool)
        return FALSE;
    if (cancellable)
        handler = g_cancellable_connect(cancellable, G_CALLBACK(cancel_workers), g_object_ref(inner),
                                        g_object_unref);
    for (guint i = 0; i < jobs->len; i++)
        g_thread_pool_push(pool, g_ptr_array_index(jobs, i), NULL);
    first = wait_for_jobs(&transfer, jobs->len, progress, progress_data);
    g_thread_pool_free(pool, FALSE, TRUE);
    if (cancellable)
        g_cancellable_disconnect(cancellable, handler);
    if (!first)
        return TRUE;
    g_propagate_error(error, first);
    return FALSE;
}
