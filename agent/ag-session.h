/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One running command, shared between ag-session.c (its life) and ag-stream.c
 * (its bytes).
 *
 *     EXEC --fork--> starting --error pipe closed--> running --exit, output read--> EXITED
 *                       |
 *                       +--error pipe says why--> EXEC_FAILED
 */
#ifndef AG_SESSION_H
#define AG_SESSION_H

#include "ag.h"

/* Output of a command: a pipe, or the PTY's master. */
struct ag_stream {
    struct ag_watch watch;
    struct ag_session *session;
    uint16_t type;          /* MP_STDOUT or MP_STDERR */
    uint32_t credit;        /* bytes that the host takes */
    bool last_words;        /* only what was in it when the grace was over */
    uint32_t left;          /* of those */
};

struct ag_session {
    struct ag_sessions *all;
    struct ag_session *next;
    uint32_t id;
    pid_t pid;
    int status;             /* as waitpid tells it, once exited */
    bool tty;
    bool started;
    bool exited;
    struct ag_watch error;  /* read end of the child's error pipe */
    struct ag_stream out[2];
    struct ag_watch in;     /* pipe to stdin, or the PTY's master again */
    uint8_t *in_buf;        /* bytes for it: in_done .. in_len wait */
    size_t in_done, in_len, in_cap;
    uint32_t in_owed;       /* consumed and not yet credited */
    uint8_t in_last;        /* last byte written */
    bool in_eof;
    struct ag_timer drain;
};

/* ag-stream.c */
void ag_stream_init(struct ag_session *s);
/* Watch the output if there is credit and room. */
void ag_stream_update(struct ag_stream *st);
void ag_stream_credit(struct ag_session *s, uint8_t number, uint32_t bytes);
/* The grace after the command's exit is over: only what is there now is still read. */
void ag_stream_last_words(struct ag_stream *st);
int ag_stream_stdin(struct ag_session *s, const uint8_t *p, size_t n) MB_MUST_CHECK;
void ag_stream_stdin_eof(struct ag_session *s);

/* ag-session.c */
/* Something changed: is it over? */
void ag_session_check(struct ag_session *s);
void ag_session_kill(struct ag_session *s, int signo);

#endif
