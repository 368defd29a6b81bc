/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest agent, grouped by the file that implements it: read this header as
 * the map.  One process, one thread, one epoll loop:
 *
 *     ag-main      options, PID 1 or a test run
 *     ag-boot      order of booting: devices, modules, port, BOOT, root, READY
 *       ag-module ag-dev ag-probe ag-root ag-mount ag-path ag-system ag-hosts ag-clock
 *     ag-loop      epoll, timers        ag-conn      frames in and out
 *     ag-session   commands: pipes, PTYs, credits, exit
 *       ag-exec    the child's side     ag-user ag-env   whom and with what
 *     ag-grow      file systems follow their disks
 *     ag-console   shell on the serial line       ag-power    ACPI power button
 *     ag-shutdown  terminate, unmount, power off
 *
 * Functions return 0 or a negative errno.  What fails while booting also fills
 * a struct ag_error, which becomes BOOT_FAILED.  Nothing here is shared between
 * threads, and the parent never touches the guest's files after READY: a child
 * does, so that no file system can block the loop.
 */
#ifndef AG_H
#define AG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mb-macros.h"
#include "mp-msg.h"

/* ---- ag-util.c ------------------------------------------------------------------ */

/* What went wrong while booting, for BOOT_FAILED and the console. */
struct ag_error {
    uint8_t stage;          /* enum mp_stage */
    int error;              /* errno, 0 when none applies */
    char object[256];
    char message[512];
};

/* Fill *e (unless an inner function already has) and return -error, or -EIO for error 0. */
int ag_fail(struct ag_error *e, int error, const char *object, const char *fmt, ...) MB_PRINTF(4, 5);
uint64_t ag_now_ns(void);                        /* CLOCK_BOOTTIME */
/* A whole regular file as a NUL-terminated string (free it), at most max bytes, else -EFBIG. Never blocks
 * on a FIFO. */
int ag_read_file(int dirfd, const char *path, size_t max, char **text) MB_MUST_CHECK;
/* Same, for one short line without its newline into buf. */
int ag_read_line(int dirfd, const char *path, char *buf, size_t size) MB_MUST_CHECK;
int ag_write_file(int dirfd, const char *path, const char *text);
/* Write all of it to a blocking descriptor. */
int ag_write_all(int fd, const void *p, size_t n);
/* Strict decimal up to UINT32_MAX - 1 (the largest id that is not "none"). */
bool ag_parse_id(const char *s, uint32_t *id);

/* ---- ag-loop.c ------------------------------------------------------------------ */

struct ag_watch {
    int fd;                 /* owned by whoever owns the watch; -1 = none */
    uint32_t events;        /* as registered now, 0 = not */
    void (*cb)(struct ag_watch *w, uint32_t events);
};

struct ag_timer {
    uint64_t at;            /* CLOCK_BOOTTIME, ns; 0 = not armed */
    void (*cb)(struct ag_timer *t);
    struct ag_timer *next;
};

struct ag_loop {
    int epfd;
    struct ag_timer *timers;
};

int ag_loop_init(struct ag_loop *l) MB_MUST_CHECK;
void ag_loop_clear(struct ag_loop *l);
/* Register, change, or with events 0 take out.  A watch that is out costs nothing, also when hung up. */
int ag_watch_set(struct ag_loop *l, struct ag_watch *w, uint32_t events);
/* Take out, close the descriptor, and never call the callback again. */
void ag_watch_close(struct ag_loop *l, struct ag_watch *w);
void ag_timer_arm(struct ag_loop *l, struct ag_timer *t, uint64_t ns_from_now);
void ag_timer_disarm(struct ag_loop *l, struct ag_timer *t);
/* Wait for events once and call the callbacks. Watches closed by a callback of the same round
 * are not called, but their memory must stay until the round is over. */
int ag_loop_once(struct ag_loop *l) MB_MUST_CHECK;

/* ---- ag-conn.c ------------------------------------------------------------------ */

/* Above this many bytes waiting for the host, commands are not read from. */
#define AG_OUT_SOFT (256u * 1024)
/* Above this many, the host's own frames are not read either. */
#define AG_OUT_HARD (1024u * 1024)

struct ag_conn {
    struct ag_watch watch;
    struct ag_loop *loop;
    struct mp_reader in;
    struct mp_enc out;
    size_t out_done;        /* bytes of out that are written */
    bool up;                /* a host is there */
    bool congested;         /* above AG_OUT_SOFT, not yet below its half */
    bool stalled;           /* above AG_OUT_HARD when there was more to read */
    /* A frame came; negative breaks the connection. */
    int (*frame)(struct ag_conn *c, const struct mp_header *h, const uint8_t *payload);
    /* The other end went away (error 0) or the stream was garbage. */
    void (*down)(struct ag_conn *c, int error);
    /* There is a host (again). */
    void (*came)(struct ag_conn *c);
    /* No longer congested. */
    void (*drained)(struct ag_conn *c);
};

/* Takes fd; the callbacks are set by the caller before. */
int ag_conn_init(struct ag_conn *c, struct ag_loop *l, int fd) MB_MUST_CHECK;
void ag_conn_clear(struct ag_conn *c);
/* Encode into this; ag_conn_flush() sends. */
struct mp_enc *ag_conn_out(struct ag_conn *c);
size_t ag_conn_pending(const struct ag_conn *c);
/* Whether output had better wait for ->drained(). */
bool ag_conn_congested(struct ag_conn *c);
void ag_conn_flush(struct ag_conn *c);
/* Last words: wait (bounded) until everything is written. Frames that come in are not looked at any more. */
void ag_conn_finish(struct ag_conn *c, int timeout_ms);

/* ---- ag-env.c, ag-user.c ---------------------------------------------------------- */

#define AG_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* An environment that owns its strings; zero-initialise. */
struct ag_env {
    char **v;               /* NULL-terminated once something is in it */
    size_t n;
};
/* K=V replaces an earlier K; an entry without '=' or with an empty name is -EINVAL. */
int ag_env_put(struct ag_env *env, const char *entry) MB_MUST_CHECK;
int ag_env_set(struct ag_env *env, const char *key, const char *value) MB_MUST_CHECK;
const char *ag_env_get(const struct ag_env *env, const char *key);
void ag_env_clear(struct ag_env *env);

struct ag_user {
    uid_t uid;
    gid_t gid;
    gid_t *groups;          /* supplementary */
    size_t n_groups;
    char *name;             /* from passwd, else NULL */
    char *home;
    char *shell;
};
/*
 * USER[:GROUP], names or numbers, "" = root, against the text of /etc/passwd and /etc/group
 * ("" when there is none).  A number without a passwd entry has group 0 and no supplementary
 * groups; with GROUP given that is the only group.  -ENOENT: *bad (in spec's storage) is the
 * part that is unknown.
 */
int ag_user_lookup(const char *passwd, const char *group, const char *spec, struct ag_user *u,
                   const char **bad) MB_MUST_CHECK;
void ag_user_clear(struct ag_user *u);

/* ---- ag-exec.c ------------------------------------------------------------------ */

/* Descriptors of a child: one PTY slave, or three pipe ends. */
struct ag_stdio {
    int tty;                /* -1 = pipes */
    int fd[3];
};

/* What is the same for all commands. */
struct ag_defaults {
    char **env;
    char *user;
    char *workdir;
    char *shell;
    bool restricted;        /* MP_BOOT_RESTRICTED */
    int proc_fd;            /* our own /proc, -1 = none */
};

/* What the child tells its parent when it cannot become the command. */
struct ag_exec_failure {
    uint8_t kind;           /* enum mp_exec_error */
    uint32_t error;
    char object[2048];
};

/* In the child: become the command, or write a struct ag_exec_failure to errfd and exit. Without one (-1) the
 * reason goes to standard error in words. */
void ag_exec_child(const struct ag_defaults *defaults, const struct mp_exec *m, const struct ag_stdio *io,
                   int errfd) MB_NORETURN;

/* ---- ag-pty.c ------------------------------------------------------------------- */

/* Master and slave of a new PTY. */
int ag_pty_open(uint16_t rows, uint16_t cols, int *master, int *slave) MB_MUST_CHECK;
void ag_pty_resize(int master, uint16_t rows, uint16_t cols);

/* ---- ag-session.c, ag-stream.c ------------------------------------------------------ */

/* After a command's exit its output is read on for this long when somebody else still holds it. */
#define AG_DRAIN_MS 500
/* Table size; the number of sessions is bounded by MP_SESSIONS_MAX. */
#define AG_BUCKETS 64

struct ag_session;
struct ag_sessions {
    struct ag_loop *loop;
    struct ag_conn *conn;
    const struct ag_defaults *defaults;
    struct ag_session *bucket[AG_BUCKETS];
    struct ag_session *dead;    /* freed at the end of the round */
    unsigned count;
    bool closing;               /* no new commands */
};

/* A frame with a session number. Unknown sessions are ignored: theirs may just have ended. A frame that
 * makes no sense costs its session its command (SIGKILL). */
void ag_sessions_frame(struct ag_sessions *s, const struct mp_header *h, const uint8_t *payload);
/* The same before READY: no command can start. */
void ag_sessions_refuse(struct ag_sessions *s, const struct mp_header *h);
/* A child was reaped; true when it was a session's. */
bool ag_sessions_reaped(struct ag_sessions *s, pid_t pid, int status);
/* Signal every command's process group, or only those on a terminal. */
void ag_sessions_signal(struct ag_sessions *s, int signo, bool terminals);
/* The host is gone: kill all, forget all. */
void ag_sessions_drop(struct ag_sessions *s);
/* The connection has room again. */
void ag_sessions_resume(struct ag_sessions *s);
/* End of a round: free what ended. */
void ag_sessions_sweep(struct ag_sessions *s);

/* ---- ag-path.c ------------------------------------------------------------------ */

enum ag_path_flags {
    AG_PATH_MAKE_DIR = 1,   /* make what is missing, directories 0755 */
    AG_PATH_MAKE_FILE = 2,  /* the same, the last one an empty file 0644 */
};
/*
 * Resolve path as if root_fd were "/": symbolic links, absolute or not, and ".." never lead
 * outside.  Returns an O_PATH descriptor of what is there, not a symbolic link.
 */
int ag_path_open(int root_fd, const char *path, unsigned flags) MB_MUST_CHECK;

/* ---- ag-probe.c ----------------------------------------------------------------- */

/* The file system on fd by its signature: "ext4" (also for ext2 and ext3), "xfs", "btrfs", "erofs",
 * "squashfs", "vfat", "exfat", "ntfs3", "f2fs", "iso9660", or NULL when none is known. */
const char *ag_probe_fs(int fd);
/* What else is there that somebody could have meant to be mounted ("a qcow2 image; ..."), or NULL. */
const char *ag_probe_other(int fd);
/* Type GUID of GPT entry n (1 = first) in mixed-endian on-disk order (UEFI specification 2.10, section 5.3).
 * -ENOENT: no GPT or no such entry; -EPROTO: damaged. */
int ag_probe_gpt_type(int fd, unsigned sector_size, unsigned n, uint8_t guid[16]) MB_MUST_CHECK;

/* What a partition is for, by its GPT type. */
enum ag_part_use { AG_PART_ANY, AG_PART_ROOT, AG_PART_BOOT };

struct ag_part {
    unsigned number;
    uint64_t size;          /* sectors of 512 bytes */
    const char *fstype;     /* NULL = none found */
    enum ag_part_use use;
};
/* The use that a type GUID stands for. */
enum ag_part_use ag_probe_part_use(const uint8_t guid[16]);
/* The partition that must be meant: the only root by its type, else the only one with a file system of Linux that is
 * not for booting, else (not for a root) the only one with any file system.  Its index; -ENOENT: none has a file
 * system that would do; -ENOTUNIQ: several have. */
int ag_probe_choose(const struct ag_part *parts, unsigned n, bool root) MB_MUST_CHECK;

/* ---- ag-dev.c ------------------------------------------------------------------- */

#define AG_DEVICE_WAIT_MS 15000

/* Uevents from here on; open before looking, so that none is missed. */
int ag_dev_events(void) MB_MUST_CHECK;
/* Wait until the port, disk or partition is there; path gets its /dev node. */
int ag_dev_wait_port(int events, const char *name, char path[64], struct ag_error *e) MB_MUST_CHECK;
int ag_dev_wait_disk(int events, const char *serial, unsigned partition, char path[64],
                     struct ag_error *e) MB_MUST_CHECK;
/* The /dev node of a disk that is there. -ENOENT: it is not. */
int ag_dev_find_disk(const char *serial, char path[64]) MB_MUST_CHECK;
/* The partitions of a whole disk (its /dev node), by number. How many, or -errno. */
int ag_dev_partitions(const char *disk, struct ag_part *parts, unsigned max) MB_MUST_CHECK;

/* ---- ag-module.c ---------------------------------------------------------------- */

/* Load the modules that dir/load lists, in order: those that every boot needs, or the others (virtiofs, ...). */
int ag_module_load_list(int at, const char *dir, bool optional_ones, struct ag_error *e) MB_MUST_CHECK;
/* Load a module, by name or alias, with what it needs and will ask for, from a /lib/modules/<version> tree.
 * -ENOENT: it has none of that name. */
int ag_module_probe(int tree_fd, const char *name) MB_MUST_CHECK;
/* The lines of modules.dep that load name, dependencies first, as paths in out (malloc'ed list, free with
 * mp_strv_free). */
int ag_module_resolve(const char *modules_dep, const char *name, char ***out) MB_MUST_CHECK;

/* ---- ag-mount.c ----------------------------------------------------------------- */

/* A file system that is mounted nowhere yet.  opts: "key=value" or "flag", NULL-terminated. attrs: MOUNT_ATTR_*.
 * ro also makes the file system itself read-only.  Returns a descriptor for ag_mount_attach(). */
int ag_mount_new(const char *fstype, const char *source, const char *const *opts, bool ro, uint64_t attrs,
                 struct ag_error *e) MB_MUST_CHECK;
/* Attach it on what target_fd (O_PATH) names. */
int ag_mount_attach(int mount_fd, int target_fd) MB_MUST_CHECK;
/* Both at once, on a path below root_fd, made if make is set. */
int ag_mount_on(int root_fd, const char *target, bool make, const char *fstype, const char *source,
                const char *const *opts, uint64_t attrs, struct ag_error *e) MB_MUST_CHECK;
/* The user's mounts, in order. */
int ag_mount_user(int root_fd, const struct mp_boot *boot, int events, int modules_fd,
                  struct ag_error *e) MB_MUST_CHECK;

/* ---- ag-disk.c ------------------------------------------------------------------ */

/* What is to be mounted of a disk. */
struct ag_disk_want {
    const char *serial;
    unsigned partition;     /* 0 = the whole disk if it has a file system, else the partition that must be meant */
    const char *fstype;     /* "" = any that is known by its signature */
    bool root;              /* as the root */
};
/* Wait for the disk and find it: its /dev node and type. An error lists the partitions there are. */
int ag_disk_find_fs(int events, const struct ag_disk_want *want, char path[64], char fstype[16],
                    struct ag_error *e) MB_MUST_CHECK;
/* Mount it, loading its module and what it needs from the modules image if the kernel does not know it. A disk that
 * is read-only is mounted so, and then without the journal if that would have to be replayed. As ag_mount_new(). */
int ag_disk_mount(const char *device, const char *fstype, bool ro, uint64_t attrs, int modules_fd,
                  struct ag_error *e) MB_MUST_CHECK;
/* Whether the disk (also that of a partition) gives freed blocks back. */
bool ag_disk_can_discard(const char *device);

/* ---- ag-root.c ------------------------------------------------------------------ */

#define AG_NEWROOT "/r"

struct ag_root {
    int fd;                 /* the assembled root, O_PATH */
    int upper_fd;           /* the ext4 below an overlay, -1 = none */
    int modules_fd;         /* the modules image, -1 = none */
    bool keep_clean;        /* a directory of the host's: make nothing of our own in it */
};
/* Mount the modules image and assemble the root on AG_NEWROOT. */
int ag_root_assemble(struct ag_root *r, const struct mp_boot *boot, int events, struct ag_error *e) MB_MUST_CHECK;
/* Make it "/". *old_fd gets the initramfs, whose files ag_root_forget() deletes. */
int ag_root_pivot(const struct ag_root *r, int *old_fd, struct ag_error *e) MB_MUST_CHECK;
void ag_root_forget(int old_fd);

/* ---- ag-system.c, ag-hosts.c, ag-run.c ----------------------------------------------- */

/* /dev, /proc, /sys of the initramfs. */
int ag_system_early(struct ag_error *e) MB_MUST_CHECK;
/* The kernel's and our own file systems inside the new root. */
int ag_system_mounts(const struct ag_root *r, const struct mp_boot *boot, struct ag_error *e) MB_MUST_CHECK;
/* Host name and loopback. */
int ag_system_names(const struct mp_boot *boot, struct ag_error *e) MB_MUST_CHECK;
/* Set the clock if it is off by more than a second. */
void ag_system_clock(uint64_t realtime_ns);
/* Copy directories, links and small files from one directory tree to another (the image's /run to the tmpfs). */
void ag_run_seed(int from_fd, int to_fd);

/* New content for /etc/hosts (malloc'ed): the old lines stay, ours stand between two marks. */
char *ag_hosts_edit(const char *old, const char *hostname, char *const *lines);
/* Bring the root's /etc/hosts up to date; read_only: without writing to the root. */
int ag_hosts_update(int root_fd, const char *hostname, char *const *lines, bool read_only) MB_MUST_CHECK;

/* ---- ag-console.c, ag-power.c ------------------------------------------------------- */

struct ag_console {
    struct ag_loop *loop;
    const struct ag_defaults *defaults;
    struct ag_watch tty;
    pid_t shell;
    char path[64];
};
int ag_console_start(struct ag_console *c, struct ag_loop *l, const struct ag_defaults *defaults) MB_MUST_CHECK;
bool ag_console_reaped(struct ag_console *c, pid_t pid);

struct ag_power {
    struct ag_watch netlink;
    void (*pressed)(struct ag_power *p);
};
/* Listen for the ACPI power button. */
int ag_power_start(struct ag_power *p, struct ag_loop *l) MB_MUST_CHECK;

/* ---- ag-grow.c ------------------------------------------------------------------- */

struct ag_grow {
    struct ag_watch events;     /* uevents */
    char **serials;             /* of the disks whose file systems follow, NULL-terminated, */
    uint64_t *above;            /* if they are larger than so many bytes; 0: in any case */
    const int *proc_fd, *upper_fd; /* as in struct ag_defaults and struct ag_root */
    pid_t child;                /* at work, 0 = none */
    bool again;                 /* there is more to do when it has ended */
};
/* Make the ext4 on the whole disk device, mounted as mount_fd, as large as the disk. Nothing happens to other file
 * systems, nor to one that has that size. What goes wrong is told on the console. */
void ag_grow_mounted(const char *serial, const char *device, int mount_fd);
/* Do that from now on when the disk of a mount with MP_MOUNT_GROW or MP_MOUNT_FOLLOW, the writable layer or a root disk
 * becomes larger. Takes events, uevents as of ag_dev_events(). */
int ag_grow_start(struct ag_grow *g, struct ag_loop *l, int events, const struct mp_boot *boot) MB_MUST_CHECK;
bool ag_grow_reaped(struct ag_grow *g, pid_t pid);
void ag_grow_clear(struct ag_grow *g, struct ag_loop *l);

/* ---- ag-shutdown.c -------------------------------------------------------------- */

/* Unmount what can be, make the rest read-only. pivoted: the sandbox's root is ours. */
void ag_shutdown_unmount(int proc_fd, const struct ag_root *root, bool pivoted);
void ag_shutdown_machine(bool reboot) MB_NORETURN;

/* ---- ag-boot.c, ag-serve.c ----------------------------------------------------------- */

enum ag_mode { AG_MODE_INIT, AG_MODE_SERVE };

struct ag_agent {
    enum ag_mode mode;
    struct ag_loop loop;
    struct ag_conn conn;
    struct ag_sessions sessions;
    struct ag_defaults defaults;
    struct ag_console console;
    struct ag_power power;
    struct ag_grow grow;
    struct ag_root root;
    struct ag_watch signals;
    struct ag_timer later;      /* work put off until the first command is on its way */
    struct ag_timer shutdown;
    struct mp_ready ready;
    int events;                 /* uevents */
    int old_fd;                 /* the initramfs after the pivot */
    bool pivoted;
    bool booted;
    bool stopping;
    bool killed;                /* SIGKILL was sent */
    bool last_output;           /* no process is left, output may be */
    bool reboot;
    bool finished;
};

/* Modules, then the port's descriptor. */
int ag_boot_open_port(struct ag_agent *a, struct ag_error *e) MB_MUST_CHECK;
/* Everything between BOOT and READY. */
int ag_boot_system(struct ag_agent *a, const struct mp_boot *boot, struct ag_error *e) MB_MUST_CHECK;
/* What need not hold up the first command. */
void ag_boot_later(struct ag_agent *a);
void ag_log(struct ag_agent *a, int level, const char *fmt, ...) MB_PRINTF(3, 4);

/* Serve until shut down. fd: the port, or in a test run any stream. */
int ag_serve(struct ag_agent *a, int fd) MB_MUST_CHECK;
void ag_serve_stop(struct ag_agent *a, uint32_t grace_ms, bool reboot);

#endif
