/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * px-errors DIR: the rules of POSIX and Linux on names, owners and modes, call by
 * call, as root and as ordinary users, in the empty directory DIR.  Prints what
 * each call said, and what it left, one line each; run in two directories, the
 * outputs must be the same.  Needs root.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mb-macros.h"
#include "px-acl.h"

#define USER 1000
#define OTHER 1001
#define GROUP 2000 /* a further group of USER's */

static const char *section = "";
static char long_name[300], long_path[PATH_MAX + 100];

static void say(const char *step, long r, const char *fmt, ...) MB_PRINTF(3, 4);

static void
say(const char *step, long r, const char *fmt, ...)
{
    int error = errno;
    va_list ap;

    printf("%s: %s: %s", section, step, r < 0 ? strerrorname_np(error) : r == 0 ? "ok" : "");
    if (r > 0)
        printf("%ld", r);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

#define DO(call) say(#call, (call), "%s", "")

/* What there is under a name. */
static void
show(const char *name)
{
    struct stat st;

    if (lstat(name, &st) < 0) {
        say(name, -1, "%s", "");
        return;
    }
    say(name, 0, " mode %o owner %u:%u links %u size %lld", st.st_mode, st.st_uid, st.st_gid,
        S_ISDIR(st.st_mode) ? 0 : (unsigned)st.st_nlink, S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size);
}

static void
become(uid_t uid)
{
    const gid_t group = GROUP;

    if (syscall(SYS_setresuid, -1, 0, -1) < 0 || setgroups(uid == USER, &group) < 0 ||
        syscall(SYS_setresgid, -1, uid, -1) < 0 || (uid && syscall(SYS_setresuid, -1, uid, -1) < 0))
        abort();
}

static int
touch(const char *name, mode_t mode)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);

    return fd < 0 ? -1 : close(fd);
}

static int
try_open(const char *name, int flags)
{
    int fd = open(name, flags | O_CLOEXEC, 0644);

    return fd < 0 ? -1 : close(fd);
}

static int
write_byte(const char *name)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC), r, error;

    if (fd < 0)
        return -1;
    r = write(fd, "x", 1) == 1 ? 0 : -1;
    error = errno;
    close(fd);
    errno = error;
    return r;
}

static int
set_time(const char *name, long nsec, int flags)
{
    const struct timespec ts[2] = {{1, nsec}, {2, nsec}};

    return utimensat(AT_FDCWD, name, ts, flags);
}

/* ---- errors that every call on a path has ------------------------------------------------------------ */

#define ON_EVERY_PATH(path) \
    do { \
        DO(try_open(path, O_RDONLY)); \
        DO(try_open(path, O_RDWR | O_CREAT)); \
        DO(chmod(path, 0644)); \
        DO(chown(path, 0, 0)); \
        DO(link(path, "new")); \
        DO(link("file", path)); \
        DO(mkdir(path, 0755)); \
        DO(mkfifo(path, 0644)); \
        DO(mknod(path, S_IFCHR | 0644, makedev(1, 3))); \
        DO(rename(path, "new")); \
        DO(rename("file", path)); \
        DO(rmdir(path)); \
        DO(symlink("x", path)); \
        DO(truncate(path, 1)); \
        DO(unlink(path)); \
        DO(set_time(path, 0, 0)); \
        DO(set_time(path, 0, AT_SYMLINK_NOFOLLOW)); \
        show("file"); \
    } while (0)

static void
paths(void)
{
    section = "paths";
    DO(touch("file", 0644));
    DO(symlink("loop", "loop"));
    DO(mkdir("dir", 0755));
    ON_EVERY_PATH("file/x");
    ON_EVERY_PATH("missing/x");
    ON_EVERY_PATH("loop/x");
    ON_EVERY_PATH("dir/.");
    ON_EVERY_PATH("dir/missing/");
    ON_EVERY_PATH("");
    memset(long_name, 'n', 256);
    ON_EVERY_PATH(long_name);
    memset(long_path, '/', sizeof(long_path) - 1);
    ON_EVERY_PATH(long_path);
    long_name[255] = 0;
    DO(mkdir(long_name, 0755));
    DO(rmdir(long_name));
    DO(rmdir("dir/.."));
    DO(rmdir("dir"));
    DO(unlink("loop"));
    DO(unlink("file"));
}

static void
types(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    section = "types";
    DO(touch("f", 0644));
    DO(mkdir("d", 0755));
    DO(mkdir("full", 0755));
    DO(touch("full/x", 0644));
    DO(symlink("f", "l"));
    DO(symlink("nowhere", "dangling"));
    DO(mkfifo("p", 0644));
    DO(mknod("c", S_IFCHR | 0644, makedev(1, 3)));
    DO(mknod("b", S_IFBLK | 0600, makedev(7, 99)));
    DO(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    close(fd);
    for (const char *const *n = (const char *const[]){"f", "d", "full", "l", "p", "c", "b", "sock", NULL}; *n; n++) {
        show(*n);
        DO(mkdir(*n, 0755));
        DO(touch(*n, 0644));
        DO(symlink("x", *n));
        DO(link("f", *n));
        DO(mkfifo(*n, 0644));
        DO(truncate(*n, 3));
        DO(try_open(*n, O_RDONLY | O_DIRECTORY | O_NONBLOCK));
        DO(try_open(*n, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_PATH));
        DO(chmod(*n, 0640));
        DO(set_time(*n, 5, AT_SYMLINK_NOFOLLOW));
        show(*n);
    }
    DO(try_open("d", O_WRONLY));
    DO(try_open("d", O_RDWR | O_CREAT));
    DO(try_open("d", O_RDONLY | O_TRUNC));
    DO(try_open("l", O_RDONLY | O_NOFOLLOW));
    DO(try_open("l", O_RDWR | O_CREAT | O_EXCL));
    DO(try_open("dangling", O_RDONLY));
    DO(try_open("dangling", O_RDWR | O_CREAT));
    show("nowhere");
    DO(try_open("sock", O_RDONLY));
    DO(try_open("p", O_WRONLY | O_NONBLOCK));
    DO(rmdir("full"));
    DO(rmdir("f"));
    DO(unlink("d"));
    DO(rename("f", "d"));
    DO(rename("d", "f"));
    DO(rename("d", "full"));
    DO(rename("full", "full/x/y"));
    DO(rename("d", "d/x"));
    DO(rename("full", "d"));
    DO(rename("l", "p"));
    show("p");
    DO(rename("f", "/proc/f"));
    DO(link("f", "/proc/f"));
    DO(link("d", "dd"));
    DO(set_time("f", 2000000000, 0));
    DO(truncate("f", -1));
    DO(truncate("f", 100));
    show("f");
}

/* ---- who may do what ------------------------------------------------------------------------------- */

static void
rights(void)
{
    section = "rights";
    DO(mkdir("open", 0777));
    DO(chmod("open", 0777));
    DO(mkdir("sticky", 01777));
    DO(chmod("sticky", 01777));
    DO(mkdir("closed", 0700));
    DO(touch("closed/x", 0666));
    become(USER);
    DO(touch("open/mine", 0640));
    DO(touch("sticky/mine", 0666));
    DO(chmod("sticky/mine", 0666));
    DO(mkdir("sticky/dir", 0777));
    DO(try_open("closed/x", O_RDONLY));
    DO(unlink("closed/x"));
    DO(chmod("open", 0755));
    DO(chown("open/mine", USER, GROUP));
    show("open/mine");
    DO(chown("open/mine", USER, 3000));
    DO(chown("open/mine", OTHER, -1));
    DO(chmod("open/mine", 06755));
    show("open/mine");
    DO(chown("open/mine", USER, USER));
    show("open/mine");
    DO(mknod("open/c", S_IFCHR | 0644, makedev(1, 3)));
    DO(mkfifo("open/p", 0644));
    become(OTHER);
    DO(chmod("open/mine", 0777));
    DO(chown("open/mine", OTHER, OTHER));
    DO(truncate("open/mine", 0));
    DO(set_time("open/mine", 0, 0));
    DO(utimensat(AT_FDCWD, "open/mine", NULL, 0));
    DO(try_open("sticky/mine", O_RDWR));
    DO(utimensat(AT_FDCWD, "sticky/mine", NULL, 0));
    DO(unlink("sticky/mine"));
    DO(rename("sticky/mine", "open/stolen"));
    DO(rmdir("sticky/dir"));
    DO(touch("sticky/other", 0644));
    DO(rename("sticky/other", "sticky/mine"));
    DO(rename("open/mine", "open/moved"));
    DO(unlink("open/moved"));
    become(USER);
    DO(unlink("sticky/mine"));
    DO(rmdir("sticky/dir"));
    DO(unlink("sticky/other"));
    become(0);
    DO(unlink("sticky/other"));
    DO(chown("open", USER, GROUP));
    DO(chmod("open", 02775));
    become(USER);
    DO(touch("open/of-group", 02755));
    show("open/of-group");
    DO(mkdir("open/sub", 0755));
    show("open/sub");
    become(OTHER);
    DO(touch("open/no", 0644));
    become(0);
    DO(chmod("open", 02777));
    become(OTHER);
    DO(touch("open/not-of-group", 02755));
    show("open/not-of-group");
    DO(chmod("open/not-of-group", 02755));
    show("open/not-of-group");
    become(0);
}

/* Set-ID bits and when they go. */
static void
set_id(void)
{
    section = "set-ID";
    DO(mkdir("w", 0777));
    DO(chmod("w", 0777));
    for (const mode_t *m = (const mode_t[]){04777, 02777, 06777, 02767, 06666, 0}; *m; m++) {
        DO(touch("w/f", 0777));
        DO(chmod("w/f", *m));
        show("w/f");
        become(OTHER);
        DO(write_byte("w/f"));
        become(0);
        show("w/f");
        DO(chmod("w/f", *m));
        become(OTHER);
        DO(truncate("w/f", 0));
        become(0);
        show("w/f");
        DO(chmod("w/f", *m));
        DO(write_byte("w/f"));
        show("w/f");
        DO(chown("w/f", 7, 7));
        show("w/f");
        DO(unlink("w/f"));
    }
    DO(mkdir("w/d", 0755));
    DO(chmod("w/d", 06755));
    DO(chown("w/d", 7, 7));
    show("w/d");
}

/* A program that runs is not written to, and one that is written to does not run. */
static void
busy_program(void)
{
    int in = open("/bin/true", O_RDONLY | O_CLOEXEC), out = open("prog", O_CREAT | O_WRONLY | O_CLOEXEC, 0755), status = 0;
    pid_t pid;

    section = "busy";
    say("copy", in < 0 || out < 0 || sendfile(out, in, NULL, 1 << 22) <= 0 ? -1 : 0, "%s", "");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("./prog", "prog", NULL);
        _exit(errno == ETXTBSY ? 26 : 1);
    }
    waitpid(pid, &status, 0);
    say("execute while open to be written", WEXITSTATUS(status), "%s", "");
    close(out);
    close(in);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("./prog", "prog", NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    say("execute", WEXITSTATUS(status), "%s", "");
    DO(chmod("prog", 0644));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("./prog", "prog", NULL);
        _exit(errno == EACCES ? 13 : 1);
    }
    waitpid(pid, &status, 0);
    say("execute without the bit", WEXITSTATUS(status), "%s", "");
}

static void
attributes(void)
{
    char buf[16];

    section = "attributes";
    DO(touch("a", 0644));
    DO(symlink("a", "al"));
    DO(mkfifo("ap", 0644));
    DO(setxattr("a", "user.x", "1", 1, XATTR_REPLACE));
    DO(setxattr("a", "user.x", "1", 1, XATTR_CREATE));
    DO(setxattr("a", "user.x", "22", 2, XATTR_CREATE));
    DO(getxattr("a", "user.x", buf, sizeof(buf)));
    DO(getxattr("a", "user.none", buf, sizeof(buf)));
    DO(setxattr("a", "nospace", "1", 1, 0));
    DO(lsetxattr("al", "user.x", "1", 1, 0));
    DO(setxattr("ap", "user.x", "1", 1, 0));
    become(OTHER);
    DO(setxattr("a", "user.x", "1", 1, 0));
    DO(getxattr("a", "user.x", buf, sizeof(buf)));
    DO(setxattr("a", "trusted.x", "1", 1, 0));
    become(0);
    DO(removexattr("a", "user.x"));
    DO(removexattr("a", "user.x"));
}

/* ---- access control lists --------------------------------------------------------------------------- */

#define ACCESS PX_ACL_ACCESS
#define DEFAULT PX_ACL_DEFAULT

static int
set_acl(const char *name, const char *kind, unsigned owner, unsigned user, unsigned group, unsigned mask,
        unsigned rest)
{
    struct px_acl acl = px_acl_make(owner, USER, user, group, mask, rest);

    return setxattr(name, kind, &acl, sizeof(acl), 0);
}

/* The list, as it is kept. */
static void
show_acl(const char *name, const char *kind)
{
    struct px_acl acl;
    ssize_t len = getxattr(name, kind, &acl, sizeof(acl)), i;
    char text[160] = "";

    for (i = 0; i < (len - (ssize_t)sizeof(acl.version)) / (ssize_t)sizeof(acl.e[0]); i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u:%u:%o", acl.e[i].tag,
                 acl.e[i].tag == PX_ACL_USER ? acl.e[i].id : 0, acl.e[i].perm);
    say(name, len, " %s%s", kind, text);
}

static void
show_both(const char *name)
{
    show(name);
    show_acl(name, ACCESS);
    show_acl(name, DEFAULT);
}

static void
lists_that_are_inherited(void)
{
    DO(mkdir("default", 0775));
    DO(set_acl("default", DEFAULT, 7, 6, 5, 7, 0));
    DO(touch("default/file", 0666));
    DO(touch("default/private", 0600));
    DO(touch("default/nothing", 0));
    DO(mkdir("default/dir", 0777));
    DO(mkfifo("default/fifo", 0666));
    DO(symlink("file", "default/link"));
    umask(077);
    DO(touch("default/masked", 0666));
    DO(mkdir("default/dir/below", 0777));
    umask(022);
    DO(chmod("default", 02777));
    DO(touch("default/set-gid", 02777));
    DO(mkdir("default/set-gid-dir", 0777));
    become(USER);
    DO(touch("default/of-user", 0666));
    DO(mkdir("default/dir-of-user", 0750));
    become(0);
    show_both("default/file");
    show_both("default/private");
    show_both("default/nothing");
    show_both("default/dir");
    show_both("default/fifo");
    show_both("default/masked");
    show_both("default/dir/below");
    show_both("default/set-gid");
    show_both("default/set-gid-dir");
    show_both("default/of-user");
    show_both("default/dir-of-user");
    DO(removexattr("default", DEFAULT));
    DO(touch("default/later", 0666));
    show_both("default/later");
}

/* px-errors DIR acls */
static void
lists(void)
{
    char list[200];

    section = "lists";
    DO(touch("l", 0600));
    show_both("l");
    DO(set_acl("l", ACCESS, 6, 6, 0, 6, 0));
    show_both("l");
    DO(listxattr("l", list, sizeof(list)));
    become(USER);
    DO(try_open("l", O_RDWR));
    become(OTHER);
    DO(try_open("l", O_RDONLY));
    DO(set_acl("l", ACCESS, 7, 7, 7, 7, 7));
    become(0);
    DO(chmod("l", 0640));
    show_both("l");
    become(USER);
    DO(try_open("l", O_RDONLY));
    DO(try_open("l", O_WRONLY));
    become(0);
    DO(setxattr("l", ACCESS, "nonsense", 8, 0));
    DO(set_acl("l", DEFAULT, 7, 7, 7, 7, 7));
    DO(removexattr("l", ACCESS));
    show_both("l");
    DO(removexattr("l", ACCESS));
    /* Who is not in the group and no root loses the bit. */
    DO(touch("g", 0600));
    DO(chown("g", USER, OTHER));
    DO(chmod("g", 02755));
    become(USER);
    DO(set_acl("g", ACCESS, 7, 5, 5, 5, 5));
    become(0);
    show_both("g");
    DO(chmod("g", 02755));
    DO(set_acl("g", ACCESS, 7, 5, 5, 5, 5));
    show_both("g");
    lists_that_are_inherited();
}

int
main(int argc, char **argv)
{
    bool acls = argc == 3 && strcmp(argv[2], "acls") == 0;

    if (argc != 2 + acls || geteuid() != 0 || chdir(argv[1]) < 0) {
        fprintf(stderr, "usage (as root): px-errors DIR [acls]\n");
        return 2;
    }
    umask(022);
    setvbuf(stdout, NULL, _IOLBF, 0);
    paths();
    types();
    rights();
    set_id();
    busy_program();
    attributes();
    if (acls)
        lists();
    return 0;
}
