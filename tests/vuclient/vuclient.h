/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vhost-user front-end without a VM: guest memory is a memfd, rings are made
 * in it, and a back-end, ours or a peer's, serves them.  Unit tests, fuzzers
 * and benchmarks of the back-ends use it.
 *
 *     struct vu_options o = {.argv = argv, .queues = 1};
 *     struct vu *vu = vu_open(&o);
 *     void *buf = vu_alloc(vu, 4096, 1);
 *     vu_submit(vu, 0, out, n_out, in, n_in, VU_KICK, token);
 *     vu_wait(vu, 0, 1000, &token, &len);
 *     vu_close(vu);
 *
 * One thread per queue at most; the protocol functions belong to one thread.
 * Failures return -errno and tell why in a TAP comment on stdout (vu_quiet
 * turns that off).  Nothing here checks what the caller does with the memory
 * and the rings: misbehaving is one of its purposes, the rings are public.
 */
#ifndef VUCLIENT_H
#define VUCLIENT_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define VU_MAX_QUEUES 16
#define VU_MAX_REGIONS 8
#define VU_GPA_BASE UINT64_C(0x40000000)  /* guest address of the first byte of memory */
#define VU_TIMEOUT_MS 120000              /* deadline of every protocol reply */

struct vu_options {
    /* The back-end, one of: */
    const char *socket_path;    /* connect there; waits for it to appear */
    int fd;                     /* a connected socket, taken over (0 = none) */
    const char *const *argv;    /* a program; started with --fd=N added */

    size_t memory;              /* bytes of guest memory, default 64 MiB */
    unsigned regions;           /* in so many adjoining regions, default 1 */
    unsigned queues;            /* default 1 */
    unsigned queue_size;        /* default 128 */
    unsigned max_segments;      /* segments of an indirect request, default 64 */
    uint64_t features_off;      /* virtio feature bits not to accept */
    uint64_t protocol_off;      /* protocol feature bits not to accept */
    int channel;                /* the back-end's end of a back-end channel, stays the caller's (0 = none) */
    bool no_start;              /* stop after the handshake: no memory, no queues */
};

/* What is known of a request under way; indexed by its head descriptor. */
struct vu_slot {
    void *token;
    uint16_t n_desc;            /* descriptors it takes in the ring */
    bool busy;
};

struct vu_queue {
    unsigned index;
    unsigned size;
    struct vring ring;          /* raw access: ring.desc, ring.avail, ring.used */
    int kick_fd, call_fd, err_fd;
    uint16_t avail_idx;         /* next to be written */
    uint16_t used_idx;          /* next to be read */
    uint16_t kicked_idx;        /* avail_idx at the last kick */
    uint16_t free_head, n_free; /* free descriptors, linked by next */
    struct vu_slot *slots;
    struct vring_desc *tables;  /* indirect tables, max_segments per head */
    unsigned max_segments;
    uint16_t base;              /* for SET_VRING_BASE */
    bool event_idx;
    uint64_t kicks, calls;      /* counted */
};

struct vu {
    struct vu_options o;        /* as completed with the defaults */
    int sock;
    pid_t pid;                  /* the spawned back-end, or 0 */
    int mem_fd;
    char *mem;
    size_t mem_size, mem_used;
    uint64_t features_offered, features;
    uint64_t protocol_offered, protocol;
    uint64_t backend_queues;    /* from GET_QUEUE_NUM, 0 = not told */
    int inflight_fd;            /* kept across reconnects */
    uint64_t inflight_size, inflight_offset;
    struct vu_queue q[VU_MAX_QUEUES];
};

extern bool vu_quiet;

/* ---- life ------------------------------------------------------------------- */

/* Connect or spawn, negotiate, share memory, start the queues.  NULL with errno. */
struct vu *vu_open(const struct vu_options *o);

/* Stop the queues, disconnect, end the spawned back-end, free everything.  Returns the
 * back-end's wait status when it was spawned (0 = exited with 0), otherwise 0. */
int vu_close(struct vu *vu);

/* kill -9 the spawned back-end and reap it; the socket is closed, the rest stays. */
void vu_kill(struct vu *vu);

/* Close the socket without any stop; the rest stays. */
void vu_disconnect(struct vu *vu);

/* After vu_kill() or vu_disconnect(): connect or spawn again and start the queues where
 * they were, with the same memory and in-flight region.  fd as in vu_options. */
int vu_reconnect(struct vu *vu, int fd);

/* The steps of vu_open(), for tests that stop in between. */
int vu_handshake(struct vu *vu);
int vu_share_memory(struct vu *vu);
int vu_setup_inflight(struct vu *vu);
int vu_start_queue(struct vu *vu, unsigned index);
/* GET_VRING_BASE: the avail index the back-end stopped at, or -errno. */
int vu_stop_queue(struct vu *vu, unsigned index);
/* Make ring index anew: empty, all descriptors free. */
void vu_reset_ring(struct vu *vu, unsigned index);

/* Start a program with a connected socket as --fd=N: its pid, and our end in *sock. */
pid_t vu_spawn(const char *const *argv, int *sock);

bool vu_has_feature(const struct vu *vu, unsigned bit);
bool vu_has_protocol(const struct vu *vu, unsigned bit);

/* ---- messages ----------------------------------------------------------------- */

/* One message as it stands; request numbers are those of vh-msg.h. */
int vu_send(struct vu *vu, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
            const int *fds, unsigned n_fds);
/* One reply: its payload of at most cap bytes; *size and *fd (the caller's, -1 = none) may be
 * NULL.  -ECONNRESET when the back-end hung up, -ETIMEDOUT, -EMSGSIZE. */
int vu_recv(struct vu *vu, uint32_t *request, void *payload, uint32_t cap, uint32_t *size, int *fd);
/* Send; when REPLY_ACK is negotiated wait for the answer: 0, -EREMOTEIO when the back-end said
 * no, -ECONNRESET.  Without REPLY_ACK returns 0 at once. */
int vu_request(struct vu *vu, uint32_t request, const void *payload, uint32_t size, const int *fds,
               unsigned n_fds);
int vu_get_u64(struct vu *vu, uint32_t request, uint64_t *value);
/* Wait until the back-end closes the connection: 0 or -ETIMEDOUT. */
int vu_wait_hangup(struct vu *vu, int timeout_ms);

/* Configuration space. 0 or -errno. */
int vu_get_config(struct vu *vu, uint32_t offset, void *buf, uint32_t len);
int vu_set_config(struct vu *vu, uint32_t offset, const void *buf, uint32_t len);

/* ---- memory ------------------------------------------------------------------- */

/* From the bump allocator, zeroed; NULL when memory is used up.  Mark and release free
 * everything that was allocated since. */
void *vu_alloc(struct vu *vu, size_t size, size_t align);
size_t vu_mark(const struct vu *vu);
void vu_release(struct vu *vu, size_t mark);
uint64_t vu_gpa(const struct vu *vu, const void *p);
void *vu_ptr(const struct vu *vu, uint64_t gpa);

/* ---- requests ----------------------------------------------------------------- */

enum vu_submit_flags {
    VU_KICK = 1,                /* tell the back-end unless it asked not to */
    VU_INDIRECT = 2,            /* one ring descriptor, the segments in a table */
    VU_FORCE_KICK = 4,          /* tell it whatever it asked */
};

/* Make out (read by the device) and in (written by it) available as one request.  0, -EAGAIN
 * when there are not enough free descriptors, -E2BIG above max_segments. */
int vu_submit(struct vu *vu, unsigned queue, const struct iovec *out, unsigned n_out, const struct iovec *in,
              unsigned n_in, unsigned flags, void *token);
void vu_kick(struct vu *vu, unsigned queue, bool force);

/* Make the chain that begins at head available without looking at it (misuse). */
void vu_make_available(struct vu *vu, unsigned queue, uint16_t head);

/* Take a completed request: 1 with *token and *len (either may be NULL), 0 when there is none,
 * -EPROTO when the back-end's used ring makes no sense. */
int vu_poll(struct vu *vu, unsigned queue, void **token, uint32_t *len);
/* The same, waiting on the call eventfd: 1, -ETIMEDOUT, -EPROTO. */
int vu_wait(struct vu *vu, unsigned queue, int timeout_ms, void **token, uint32_t *len);
/* Requests under way. */
unsigned vu_in_flight(const struct vu *vu, unsigned queue);
/* The back-end signalled that the queue is broken: 1, or -ETIMEDOUT. */
int vu_wait_err(struct vu *vu, unsigned queue, int timeout_ms);

#endif
