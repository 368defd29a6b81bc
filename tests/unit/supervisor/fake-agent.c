/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake agent: see fake-agent.h.  One process, blocking writes, no threads. */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake-agent.h"
#include "mb-io.h"
#include "mp-msg.h"

#define MAX_SESSIONS 512

enum kind { FREE, CAT, FLOOD, SLEEP, STUBBORN, UNDEAD, DEAF, SIZE };

struct session {
    uint32_t id;
    enum kind kind;
    uint64_t done, total;     /* flood */
    uint32_t window;          /* of stdout */
    uint8_t held[MP_WINDOW];  /* cat: what did not fit the window */
    size_t n_held;
    int eof;
};

static struct session *sessions[MAX_SESSIONS];
static int peer;

static void
out(struct mp_enc *e)
{
    if (mb_write_full(peer, e->buf, e->len) < 0)
        _exit(0);
    mp_enc_clear(e);
}

static void
frame(uint16_t type, uint32_t session, const void *p, size_t n)
{
    struct mp_enc e = { 0 };

    if (mp_raw_encode(&e, type, session, p, n) < 0)
        _exit(1);
    out(&e);
}

static void
exited(uint32_t id, int signalled, uint32_t code)
{
    struct mp_enc e = { 0 };

    if (mp_exited_encode(&e, id, signalled, code) < 0)
        _exit(1);
    out(&e);
}

static void
credit(uint32_t id, uint8_t stream, uint32_t n)
{
    struct mp_enc e = { 0 };

    if (mp_credit_encode(&e, id, stream, n) < 0)
        _exit(1);
    out(&e);
}

static struct session *
find(uint32_t id)
{
    for (int i = 0; i < MAX_SESSIONS; i++)
        if (sessions[i] && sessions[i]->id == id)
            return sessions[i];
    return NULL;
}

static void
drop(struct session *s)
{
    for (int i = 0; i < MAX_SESSIONS; i++) {
        if (sessions[i] == s) {
            free(s);
            sessions[i] = NULL;
            return;
        }
    }
}

/* As much as the window allows. */
static void
produce(struct session *s)
{
    static uint8_t buf[MP_DATA_MAX];

    while (s->kind == FLOOD && s->window > 0 && s->done < s->total) {
        size_t n = MB_MIN(MB_MIN((uint64_t)s->window, s->total - s->done), sizeof(buf));

        for (size_t i = 0; i < n; i++)
            buf[i] = FLOOD_BYTE(s->done + i);
        frame(MP_STDOUT, s->id, buf, n);
        s->done += n;
        s->window -= n;
    }
    while (s->kind == CAT && s->window > 0 && s->n_held > 0) {
        size_t n = MB_MIN(MB_MIN(s->n_held, (size_t)s->window), (size_t)MP_DATA_MAX);

        frame(MP_STDOUT, s->id, s->held, n);
        memmove(s->held, s->held + n, s->n_held - n);
        s->n_held -= n;
        s->window -= n;
        credit(s->id, 0, n);
    }
    if ((s->kind == FLOOD && s->done == s->total) || (s->kind == CAT && s->eof && s->n_held == 0)) {
        exited(s->id, 0, 0);
        drop(s);
    }
}

static void
start(uint32_t id, enum kind kind, uint64_t total)
{
    for (int i = 0; i < MAX_SESSIONS; i++) {
        if (!sessions[i]) {
            sessions[i] = calloc(1, sizeof(struct session));
            sessions[i]->id = id;
            sessions[i]->kind = kind;
            sessions[i]->total = total;
            sessions[i]->window = MP_WINDOW;
            produce(sessions[i]);
            return;
        }
    }
}

static void
misbehave(uint32_t id, const char *how)
{
    static const uint8_t zeros[MP_DATA_MAX];
    static const uint8_t garbage[64] = { 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4 };

    if (!strcmp(how, "overrun")) {
        for (size_t i = 0; i < MP_WINDOW / MP_DATA_MAX + 1; i++)
            frame(MP_STDOUT, id, zeros, sizeof(zeros));
    } else if (!strcmp(how, "garbage")) {
        if (mb_write_full(peer, garbage, sizeof(garbage)) < 0)
            _exit(0);
    } else if (!strcmp(how, "badexit")) {
        frame(MP_EXITED, id, zeros, 2);
    } else if (!strcmp(how, "badcredit")) {
        credit(id, 0, 1);
    } else if (!strcmp(how, "toolong")) {
        struct mp_enc e = { 0 };
        static uint8_t much[MP_DATA_MAX + 1];

        if (mp_raw_encode(&e, MP_STDOUT, id, much, sizeof(much)) < 0)
            _exit(1);
        out(&e);
    } else if (!strcmp(how, "swamp")) {
        sigset_t go;
        int sig;

        sigemptyset(&go);
        sigaddset(&go, SIGUSR1);
        sigwait(&go, &sig);
        for (size_t i = 0; i < 64 * MP_WINDOW / MP_DATA_MAX; i++)
            frame(MP_STDOUT, id, zeros, sizeof(zeros));
        exited(id, 0, 0);
    } else if (!strcmp(how, "strangers")) {
        frame(MP_STDOUT, id + 1000, zeros, 10);
        exited(id + 1000, 0, 0);
        credit(id + 1000, 0, 77);
        frame(999, id, zeros, 10);
        frame(999, 0, zeros, 10);
        exited(id, 0, 0);
    }
}

static void
write_raw(uint32_t id, char **hex)
{
    for (; *hex; hex++) {
        uint8_t buf[256];
        size_t n = strlen(*hex) / 2;

        for (size_t i = 0; i < n; i++) {
            unsigned v;

            if (sscanf(*hex + 2 * i, "%2x", &v) != 1)
                _exit(1);
            buf[i] = (uint8_t)v;
        }
        frame(MP_STDOUT, id, buf, n);
    }
}

static void
echo(uint32_t id, uint16_t type, char **words)
{
    char buf[4096];
    size_t n = 0;

    for (; *words && n < sizeof(buf); words++)
        n += (size_t)snprintf(buf + n, sizeof(buf) - n, "%s%c", *words, words[1] ? ' ' : '\n');
    frame(type, id, buf, MB_MIN(n, sizeof(buf)));
}

static void
take_exec(uint32_t id, char **argv, int tty)
{
    const char *what = argv[0];
    uint32_t pid = htole32(1000 + id);
    uint64_t number = argv[1] ? strtoull(argv[1], NULL, 10) : 0;

    if (!strcmp(what, "missing")) {
        struct mp_exec_failed failed = { MP_EXEC_NOT_FOUND, ENOENT, argv[0] };
        struct mp_enc e = { 0 };

        if (mp_exec_failed_encode(&e, id, &failed) < 0)
            _exit(1);
        out(&e);
        return;
    }
    frame(MP_STARTED, id, &pid, sizeof(pid));
    if (!strcmp(what, "cat")) {
        start(id, CAT, 0);
    } else if (!strcmp(what, "flood")) {
        start(id, FLOOD, number);
    } else if (!strcmp(what, "sleep")) {
        start(id, SLEEP, 0);
    } else if (!strcmp(what, "stubborn")) {
        start(id, STUBBORN, 0);
    } else if (!strcmp(what, "undead")) {
        start(id, UNDEAD, 0);
    } else if (!strcmp(what, "deaf")) {
        start(id, DEAF, 0);
    } else if (!strcmp(what, "size")) {
        start(id, SIZE, 0);
    } else if (!strcmp(what, "echo") || !strcmp(what, "err")) {
        echo(id, *what == 'e' && what[1] == 'c' ? MP_STDOUT : MP_STDERR, argv + 1);
        exited(id, 0, *what == 'e' && what[1] == 'c' ? 0 : 3);
    } else if (!strcmp(what, "exit")) {
        exited(id, 0, (uint32_t)number);
    } else if (!strcmp(what, "die")) {
        exited(id, 1, (uint32_t)number);
    } else if (!strcmp(what, "raw")) {
        write_raw(id, argv + 1);
        exited(id, 0, tty ? 0 : 1);
    } else {
        misbehave(id, what);
    }
}

static void
take_session_frame(const struct mp_header *h, const uint8_t *payload)
{
    struct session *s = find(h->session);
    uint8_t stream;
    uint32_t n;

    if (!s)
        return;
    if (h->type == MP_STDIN && s->kind == CAT) {
        if (s->n_held + h->length > sizeof(s->held))
            _exit(7);
        memcpy(s->held + s->n_held, payload, h->length);
        s->n_held += h->length;
        produce(s);
    } else if (h->type == MP_STDIN_EOF) {
        s->eof = 1;
        produce(s);
    } else if (h->type == MP_CREDIT && mp_credit_decode(payload, h->length, &stream, &n) == 0) {
        if (stream == 1)
            s->window += n;
        if (s->window > MP_WINDOW)
            _exit(8);
        produce(s);
    } else if (h->type == MP_RESIZE && s->kind == SIZE) {
        char text[32];

        snprintf(text, sizeof(text), "%ux%u\n", payload[0] | payload[1] << 8, payload[2] | payload[3] << 8);
        frame(MP_STDOUT, s->id, text, strlen(text));
    } else if (h->type == MP_SIGNAL) {
        uint32_t sig;

        memcpy(&sig, payload, 4);
        sig = le32toh(sig);
        if (s->kind == UNDEAD || (s->kind == STUBBORN && sig != SIGKILL))
            return;
        exited(s->id, 1, sig);
        drop(s);
    }
}

void
fake_agent_fail_to_boot(int fd)
{
    static char words[100001];
    struct mp_boot_failed failed = { MP_STAGE_ROOT, ENOENT, words, words };
    uint32_t version = htole32(MP_VERSION);
    struct mp_enc e = { 0 };
    uint8_t boot[4096];

    peer = fd;
    for (size_t i = 0; i + 4 < sizeof(words); i += 4)
        memcpy(words + i, "\xc2\x9b" "2J", 4);
    frame(MP_HELLO, 0, &version, sizeof(version));
    if (read(fd, boot, sizeof(boot)) <= 0)
        _exit(0);
    mp_enc_begin(&e, MP_LOG, 0, 0);
    mp_put_u8(&e, 3);
    mp_put_str(&e, words);
    if (mp_enc_end(&e) < 0 || mp_boot_failed_encode(&e, &failed) < 0)
        _exit(1);
    out(&e);
    while (read(fd, boot, sizeof(boot)) > 0)
        ;
    _exit(0);
}

static void
take_frame(const struct mp_header *h, const uint8_t *payload)
{
    struct mp_enc e = { 0 };

    if (h->type == MP_BOOT) {
        struct mp_ready ready = { 1, 2, 3, 4, 5, (char *)"fake" };

        if (mp_ready_encode(&e, &ready) < 0)
            _exit(1);
        out(&e);
    } else if (h->type == MP_EXEC) {
        struct mp_exec exec = { 0 };

        if (mp_exec_decode(&exec, payload, h->length) < 0)
            _exit(1);
        take_exec(h->session, exec.argv, exec.tty);
        mp_exec_clear(&exec);
    } else if (h->session != 0) {
        take_session_frame(h, payload);
    }
}

void
fake_agent_run(int fd)
{
    struct mp_reader reader = { 0 };
    uint32_t version = htole32(MP_VERSION);
    sigset_t go;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    peer = fd;
    frame(MP_HELLO, 0, &version, sizeof(version));
    for (;;) {
        struct mp_header h;
        const uint8_t *payload;
        size_t space;
        uint8_t *p = mp_reader_space(&reader, &space);
        ssize_t n = read(fd, p, space);

        if (n <= 0)
            _exit(0);
        mp_reader_added(&reader, (size_t)n);
        while (mp_reader_next(&reader, &h, &payload) == 1)
            take_frame(&h, payload);
    }
}
