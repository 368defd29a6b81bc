/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Message numbers, and the messages as structures with one encode and one
 * decode function each.  Numbers are never reused.
 *
 * Between supervisor and agent (virtio-serial port "org.msb.agent.0"):
 *
 *   agent -> host   HELLO, [BOOT_FAILED | READY], then per session STARTED or
 *                   EXEC_FAILED, STDOUT/STDERR, EXITED; PONG; CREDIT
 *   host -> agent   BOOT, then EXEC, STDIN, STDIN_EOF, RESIZE, SIGNAL, CREDIT,
 *                   PING, SHUTDOWN
 *
 * Between a client and the supervisor (control.sock): the same session
 * messages, plus the CTL_* ones on session 0.  Session numbers on the control
 * socket are chosen by the client for that connection (1, 2, ...); the
 * supervisor maps them to the agent's.
 *
 * Flow control: either side of a byte stream may have MP_WINDOW bytes under
 * way; the receiver returns CREDIT for what it consumed (stream 0 = stdin,
 * 1 = stdout, 2 = stderr).
 */
#ifndef MP_MSG_H
#define MP_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "mp-codec.h"
#include "mp-frame.h"

/* 2: partitions, MP_MOUNT_GROW, MP_CTL_DISK_CHANGED.  Another layout of a message is another version: both ends of
 * a connection say theirs first, and what is of another one is told so instead of being read wrong. */
#define MP_VERSION 2
#define MP_WINDOW (256u * 1024)
#define MP_PORT_NAME "org.msb.agent.0"
/* Elements that a decoder takes at most: strings in a list, mounts, sessions. */
#define MP_STRV_MAX 32768u
#define MP_MOUNTS_MAX 1024u
#define MP_SESSIONS_MAX 4096u

enum mp_type {
    MP_HELLO = 1,          /* u32 version */
    MP_BOOT = 2,           /* struct mp_boot */
    MP_BOOT_FAILED = 3,    /* struct mp_boot_failed */
    MP_READY = 4,          /* struct mp_ready */
    MP_SHUTDOWN = 5,       /* u32 grace in milliseconds between SIGTERM and SIGKILL, u8 how (enum mp_shutdown) */
    MP_PING = 6,           /* bytes, echoed */
    MP_PONG = 7,
    MP_LOG = 8,            /* agent -> host: u8 level, str message (for supervisor.log) */

    MP_EXEC = 16,          /* struct mp_exec */
    MP_STARTED = 17,       /* u32 pid; on the control socket also u32 global id */
    MP_EXEC_FAILED = 18,   /* struct mp_exec_failed; ends the session */
    MP_STDIN = 19,         /* raw bytes */
    MP_STDIN_EOF = 20,
    MP_STDOUT = 21,        /* raw bytes (a PTY's output too) */
    MP_STDERR = 22,
    MP_EXITED = 23,        /* u8 signalled, u32 exit code or signal number; ends the session */
    MP_RESIZE = 24,        /* u16 rows, u16 cols */
    MP_SIGNAL = 25,        /* u32 Linux signal number, to the process group */
    MP_CREDIT = 26,        /* u8 stream, u32 bytes */

    MP_CTL_HELLO = 64,     /* client -> supervisor: u32 version; answer CTL_WELCOME */
    MP_CTL_WELCOME = 65,   /* struct mp_ctl_status */
    MP_CTL_STATUS = 66,    /* ask; answer CTL_WELCOME again */
    MP_CTL_STOP = 67,      /* u32 grace milliseconds, u8 force; CTL_OK, then EOF when all is down */
    MP_CTL_OK = 68,
    MP_CTL_ERROR = 69,     /* u32 errno or 0, str message; on a session: ends it */
    MP_CTL_SESSIONS = 70,  /* ask; answer CTL_SESSION_LIST */
    MP_CTL_SESSION_LIST = 71, /* u32 count, struct mp_ctl_session each */
    MP_CTL_DETACH = 72,    /* on a session: leave it running; answered by CTL_OK with its u32 global id */
    MP_CTL_ATTACH = 73,    /* on a new session: u32 global id; STARTED, then a replay of the last output, then live */
    MP_CTL_WAIT_READY = 74,/* answered by CTL_WELCOME once the state is running or failed */
    MP_CTL_WORKLOAD = 75,  /* on a session: the sandbox is to end when this command ends; not answered */
    MP_CTL_DISK_CHANGED = 76, /* str id of a device: the size of its file is another one; CTL_OK or CTL_ERROR */
    MP_CTL_DISK_GROW = 77, /* str id of a device, str size in digits, "+" before them for so many bytes more; CTL_OK
                            * when it has that, or CTL_ERROR */
};

enum mp_shutdown { MP_SHUTDOWN_POWEROFF = 0, MP_SHUTDOWN_REBOOT = 1 };

/* ---- boot ------------------------------------------------------------------ */

enum mp_root_kind {
    MP_ROOT_OVERLAY = 1,   /* n_layers EROFS partitions of the disk "layers", ext4 upper on the disk "upper" */
    MP_ROOT_VIRTIOFS = 2,  /* a directory: tag in root_source */
    MP_ROOT_DISK = 3,      /* root_source = disk serial, root_fstype or "" */
};

enum mp_mount_kind { MP_MOUNT_VIRTIOFS = 1, MP_MOUNT_DISK = 2, MP_MOUNT_TMPFS = 3 };
enum mp_mount_flags {
    MP_MOUNT_RO = 1, MP_MOUNT_NOEXEC = 2, MP_MOUNT_NOSUID = 4, MP_MOUNT_NODEV = 8,
    MP_MOUNT_FILE = 16,    /* virtiofs root with a single file: bind that file on target */
    MP_MOUNT_GROW = 32,    /* disk: the file system is to be as large as the disk, also when that grows */
    MP_MOUNT_FOLLOW = 64,  /* disk: the file system is to be as large as the disk when that grows, not before */
};

struct mp_mount {
    uint8_t kind;          /* enum mp_mount_kind */
    uint32_t flags;        /* enum mp_mount_flags */
    char *source;          /* virtio-fs tag, disk serial, "" for tmpfs */
    char *target;          /* absolute path in the guest */
    char *fstype;          /* "" = find out (disks) */
    char *name;            /* MP_MOUNT_FILE: the file's name inside the share */
    uint64_t size;         /* tmpfs: bytes, 0 = default */
    uint32_t mode;         /* tmpfs: mode of its root, 0 = default */
    uint32_t partition;    /* disk: number, 0 = find out */
};

struct mp_boot {
    uint8_t root_kind;     /* enum mp_root_kind */
    uint32_t n_layers;     /* partitions 1 .. n, lowest layer first */
    char *root_source;
    char *root_fstype;
    uint32_t root_partition; /* disk: number, 0 = find out */
    char *modules_source;  /* serial of the disk that holds the modules image, "" = none */
    uint32_t modules_partition; /* 0 = the whole disk */
    char *kernel_version;  /* where the modules image goes: /lib/modules/<version> */
    char *hostname;
    struct mp_mount *mounts; /* in mount order (parents first) */
    unsigned n_mounts;
    char **hosts;          /* extra lines for /etc/hosts */
    char **env;            /* default environment, K=V */
    char *user;            /* default user[:group], "" = root */
    char *workdir;         /* default working directory, "" = / */
    char *shell;           /* for the console and "msb shell" */
    uint64_t realtime_ns;  /* host's CLOCK_REALTIME, to set the guest's clock if off by > 1 s */
    uint32_t flags;        /* enum mp_boot_flags */
};
enum mp_boot_flags { MP_BOOT_RESTRICTED = 1 };

enum mp_stage {            /* where booting failed */
    MP_STAGE_MODULES = 1, MP_STAGE_DEVICES, MP_STAGE_ROOT, MP_STAGE_MOUNT, MP_STAGE_PIVOT,
    MP_STAGE_SYSTEM, MP_STAGE_PROTOCOL,
};
struct mp_boot_failed {
    uint8_t stage;
    uint32_t error;        /* Linux errno, 0 = none applies */
    char *object;          /* what it was about: a path, a device, a tag */
    char *message;         /* one sentence */
};

struct mp_ready {          /* nanoseconds on the guest's CLOCK_BOOTTIME */
    uint64_t started_ns;   /* main() */
    uint64_t port_ns;      /* the port was open */
    uint64_t boot_ns;      /* the boot frame was there */
    uint64_t root_ns;      /* the root was assembled */
    uint64_t ready_ns;
    char *agent_version;
};

/* ---- commands --------------------------------------------------------------- */

struct mp_exec {
    char **argv;           /* argv[0] is looked up in the PATH of env */
    char **env;            /* on top of the boot frame's */
    char *cwd;             /* "" = default */
    char *user;            /* "" = default; USER[:GROUP], names or numbers */
    uint8_t tty;
    uint16_t rows, cols;   /* with tty */
    uint8_t no_stdin;      /* stdin is /dev/null */
};

enum mp_exec_error {
    MP_EXEC_NOT_FOUND = 1, MP_EXEC_NOT_EXECUTABLE, MP_EXEC_BAD_CWD, MP_EXEC_BAD_USER,
    MP_EXEC_BAD_ARGS, MP_EXEC_NO_RESOURCES, MP_EXEC_PTY, MP_EXEC_SHUTTING_DOWN, MP_EXEC_OTHER,
};
struct mp_exec_failed {
    uint8_t kind;          /* enum mp_exec_error */
    uint32_t error;        /* errno */
    char *object;          /* the command, directory or user it was about */
};

/* ---- control socket ----------------------------------------------------------- */

enum mp_ctl_state { MP_CTL_STARTING = 1, MP_CTL_RUNNING, MP_CTL_STOPPING, MP_CTL_FAILED };
struct mp_ctl_status {
    uint32_t version;
    uint8_t state;
    uint32_t supervisor_pid;
    uint64_t started_ns;   /* CLOCK_REALTIME */
    char *message;         /* why it failed */
    char **timings;        /* "stage=microseconds" for --timings, in order */
};
struct mp_ctl_session {
    uint32_t id;           /* global id, also in the logs */
    uint8_t attached;      /* number of clients that watch it */
    uint8_t tty;
    uint32_t pid;          /* in the guest */
    uint64_t started_ns;   /* CLOCK_REALTIME */
    char **argv;
};

/* Every mp_X_encode() makes one whole frame in e (which may hold earlier ones);
 * every mp_X_decode() fills a zeroed structure, to be cleared by mp_X_clear(), and
 * returns 0, -EPROTO or -ENOMEM with nothing left to free. */
int mp_boot_encode(struct mp_enc *e, const struct mp_boot *m);
int mp_boot_decode(struct mp_boot *m, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_boot_clear(struct mp_boot *m);
int mp_boot_failed_encode(struct mp_enc *e, const struct mp_boot_failed *m);
int mp_boot_failed_decode(struct mp_boot_failed *m, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_boot_failed_clear(struct mp_boot_failed *m);
int mp_ready_encode(struct mp_enc *e, const struct mp_ready *m);
int mp_ready_decode(struct mp_ready *m, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_ready_clear(struct mp_ready *m);
int mp_exec_encode(struct mp_enc *e, uint32_t session, const struct mp_exec *m);
int mp_exec_decode(struct mp_exec *m, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_exec_clear(struct mp_exec *m);
int mp_exec_failed_encode(struct mp_enc *e, uint32_t session, const struct mp_exec_failed *m);
int mp_exec_failed_decode(struct mp_exec_failed *m, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_exec_failed_clear(struct mp_exec_failed *m);
int mp_ctl_status_encode(struct mp_enc *e, const struct mp_ctl_status *m);
int mp_ctl_status_decode(struct mp_ctl_status *m, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_ctl_status_clear(struct mp_ctl_status *m);
int mp_ctl_session_list_encode(struct mp_enc *e, const struct mp_ctl_session *list, unsigned count);
int mp_ctl_session_list_decode(struct mp_ctl_session **list, unsigned *count, const uint8_t *p, size_t n) MB_MUST_CHECK;
void mp_ctl_session_list_free(struct mp_ctl_session *list, unsigned count);

/* A frame whose payload is raw bytes (STDIN, STDOUT, PING, ...) or empty. */
int mp_raw_encode(struct mp_enc *e, uint16_t type, uint32_t session, const void *p, size_t n);
/* Small ones. */
int mp_exited_encode(struct mp_enc *e, uint32_t session, bool signalled, uint32_t code);
int mp_exited_decode(const uint8_t *p, size_t n, bool *signalled, uint32_t *code) MB_MUST_CHECK;
int mp_credit_encode(struct mp_enc *e, uint32_t session, uint8_t stream, uint32_t bytes);
int mp_credit_decode(const uint8_t *p, size_t n, uint8_t *stream, uint32_t *bytes) MB_MUST_CHECK;

const char *mp_stage_name(uint8_t stage);

#endif
