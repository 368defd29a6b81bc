/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the agent does with files that others made: paths inside a root, hosts
 * files, signatures and partition tables, modules.dep, /run.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ag.h"
#include "tap.h"

static char dir[] = "/tmp/msb-test-files.XXXXXX";

static void
put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0 || ag_write_all(fd, text, strlen(text)) < 0)
        ok(0, "write %s", path);
    close(fd);
}

static char *
get(const char *path)
{
    char *text = NULL;

    return ag_read_file(AT_FDCWD, path, 1 << 20, &text) < 0 ? NULL : text;
}

/* ---- paths -------------------------------------------------------------------------- */

/* path inside root leads to the file or directory want (relative to the cwd), or fails. */
static void
leads_to(int root, const char *path, unsigned flags, const char *want, int error)
{
    int fd = ag_path_open(root, path, flags);
    struct stat a, b;

    if (error) {
        eq_int(fd, error, path);
    } else {
        ok(fd >= 0 && fstat(fd, &a) == 0 && lstat(want, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev,
           "\"%s\" leads to %s", path, want);
    }
    if (fd >= 0)
        close(fd);
}

static void
test_paths(void)
{
    char longest[5000];
    int root;

    mkdir("root", 0755);
    mkdir("root/a", 0755);
    mkdir("root/a/b", 0755);
    mkdir("outside", 0755);
    put("root/file", "");
    ok(symlink("/a", "root/abs") == 0 && symlink("../../../../outside", "root/a/up") == 0 &&
           symlink("/outside", "root/out") == 0 && symlink("loop2", "root/loop1") == 0 &&
           symlink("loop1", "root/loop2") == 0 && symlink("/new/place", "root/dangling") == 0 &&
           symlink("/proc/self/root", "root/magic") == 0 && symlink("b/../../file", "root/a/tofile") == 0,
       "links are made");
    root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    leads_to(root, "/", 0, "root", 0);
    leads_to(root, "", 0, "root", 0);
    leads_to(root, "/a//b/.", 0, "root/a/b", 0);
    leads_to(root, "/../../..", 0, "root", 0);
    leads_to(root, "/a/../../../a/b", 0, "root/a/b", 0);
    leads_to(root, "/abs/b", 0, "root/a/b", 0);
    leads_to(root, "/a/tofile", 0, "root/file", 0);
    leads_to(root, "/a/up", 0, NULL, -ENOENT);
    leads_to(root, "/out", 0, NULL, -ENOENT);
    leads_to(root, "/loop1", 0, NULL, -ELOOP);
    leads_to(root, "/magic", AG_PATH_MAKE_DIR, "root/proc/self/root", 0);
    leads_to(root, "/file/x", 0, NULL, -ENOTDIR);
    leads_to(root, "/file/x", AG_PATH_MAKE_DIR, NULL, -ENOTDIR);
    leads_to(root, "/a/up/x", AG_PATH_MAKE_DIR, "root/outside/x", 0);
    ok(access("outside/x", F_OK) < 0, "nothing was made outside");
    leads_to(root, "/dangling/deeper", AG_PATH_MAKE_DIR, "root/new/place/deeper", 0);
    leads_to(root, "/etc/app/conf", AG_PATH_MAKE_DIR | AG_PATH_MAKE_FILE, "root/etc/app/conf", 0);
    leads_to(root, "/file", AG_PATH_MAKE_DIR | AG_PATH_MAKE_FILE, "root/file", 0);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    leads_to(root, longest, AG_PATH_MAKE_DIR, NULL, -ENAMETOOLONG);
    longest[300] = '\0';
    leads_to(root, longest, AG_PATH_MAKE_DIR, NULL, -ENAMETOOLONG);
    close(root);
}

/* ---- hosts -------------------------------------------------------------------------- */

static void
test_hosts(void)
{
    char *lines[] = { (char *)"10.0.0.1 host.msb.internal", NULL };
    char *none[] = { NULL };
    char *first, *second, *third;

    first = ag_hosts_edit("", "box", lines);
    ok(first && strstr(first, "127.0.0.1\tlocalhost\n") && strstr(first, "127.0.1.1\tbox\n") &&
           strstr(first, "\n10.0.0.1 host.msb.internal\n"), "an empty file gets the standard lines and ours");
    second = ag_hosts_edit(first, "box", lines);
    eq_str(second, first, "a second time changes nothing");
    third = ag_hosts_edit(second, "other", none);
    ok(third && strstr(third, "\tother\n") && !strstr(third, "\tbox\n") && !strstr(third, "10.0.0.1") &&
           strstr(third, "127.0.0.1\tlocalhost\n"), "what is ours is replaced");
    free(first);
    free(second);
    free(third);
    first = ag_hosts_edit("1.2.3.4 mine\n5.6.7.8 also", "box", lines);
    ok(first && strncmp(first, "1.2.3.4 mine\n5.6.7.8 also\n#", 27) == 0, "the image's lines stay in front");
    ok(first && !strstr(first, "localhost"), "and nothing standard is added to them");
    second = ag_hosts_edit(first, "box", lines);
    eq_str(second, first, "and again nothing changes");
    free(first);
    free(second);
    first = ag_hosts_edit("x y\n# Added by msb; replaced at every start.\ncut off", "b", none);
    second = first ? ag_hosts_edit(first, "b", none) : NULL;
    ok(first && second && strcmp(first, second) == 0 && strstr(second, "cut off") && strstr(second, "x y\n"),
       "a mark without its end loses nothing and does not grow");
    free(first);
    free(second);
}

static void
test_hosts_file(void)
{
    char *lines[] = { NULL };
    char *text, *again;
    int root;
    struct stat a, b;

    mkdir("hroot", 0755);
    root = open("hroot", O_PATH | O_DIRECTORY | O_CLOEXEC);
    eq_int(ag_hosts_update(root, "box", lines, false), 0, "a missing file is made");
    text = get("hroot/etc/hosts");
    ok(text && strstr(text, "\tbox\n"), "with its lines");
    stat("hroot/etc/hosts", &a);
    eq_int(ag_hosts_update(root, "box", lines, false), 0, "once more");
    stat("hroot/etc/hosts", &b);
    again = get("hroot/etc/hosts");
    ok(text && again && strcmp(text, again) == 0, "the same");
    ok(a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_mtim.tv_sec == b.st_mtim.tv_sec, "and not written again");
    free(text);
    free(again);

    unlink("hroot/etc/hosts");
    put("secret", "secret\n");
    ok(symlink("/var/hosts", "hroot/etc/hosts") == 0, "a link to a file that is not there");
    eq_int(ag_hosts_update(root, "longer-name", lines, false), 0, "is followed inside the root");
    text = get("hroot/var/hosts");
    ok(text && strstr(text, "\tlonger-name\n"), "where the file is made");
    eq_int(ag_hosts_update(root, "b", lines, false), 0, "shorter");
    free(text);
    text = get("hroot/var/hosts");
    ok(text && strlen(text) > 20 && strcmp(text + strlen(text) - 25, "# End of what msb added.\n") == 0,
       "leaves no tail");
    free(text);
    unlink("hroot/etc/hosts");
    ok(symlink("../../secret", "hroot/etc/hosts") == 0, "a link out of the root");
    eq_int(ag_hosts_update(root, "b", lines, false), 0, "stays inside");
    text = get("secret");
    eq_str(text, "secret\n", "the file outside is untouched");
    free(text);
    unlink("hroot/etc/hosts");
    mkfifo("hroot/etc/hosts", 0644);
    eq_int(ag_hosts_update(root, "b", lines, false), -EINVAL, "a FIFO is left alone");
    close(root);
}

/* ---- disks -------------------------------------------------------------------------- */

static int
image(const char *name, off_t size)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);

    if (fd < 0 || ftruncate(fd, size) < 0)
        ok(0, "make %s", name);
    return fd;
}

static void
magic(const char *want, off_t offset, const char *bytes, size_t n)
{
    int fd = image("image", 1 << 20);

    eq_int(pwrite(fd, bytes, n, offset), n, "the signature is written");
    eq_str(ag_probe_fs(fd), want, want);
    close(fd);
}

static void
test_signatures(void)
{
    int fd = image("image", 0);

    eq_str(ag_probe_fs(fd), NULL, "an empty image is nothing");
    close(fd);
    fd = image("image", 1 << 20);
    eq_str(ag_probe_fs(fd), NULL, "zeroes are nothing");
    close(fd);
    magic("ext4", 1080, "\x53\xef", 2);
    magic("xfs", 0, "XFSB", 4);
    magic("btrfs", 65600, "_BHRfS_M", 8);
    magic("erofs", 1024, "\xe2\xe1\xf5\xe0", 4);
    magic("squashfs", 0, "hsqs", 4);
    magic("iso9660", 32769, "CD001", 5);
    magic("vfat", 82, "FAT32   ", 8);
}

/* A GPT header with an entry table at LBA 2. */
static void
put_gpt(int fd, uint64_t table, uint32_t entries, uint32_t size)
{
    uint8_t h[92] = "EFI PART";

    memcpy(h + 72, &table, 8);
    memcpy(h + 80, &entries, 4);
    memcpy(h + 84, &size, 4);
    eq_int(pwrite(fd, h, sizeof(h), 512), sizeof(h), "a header");
}

static void
test_gpt(void)
{
    uint8_t type[16] = { 1, 2, 3 }, got[16];
    int fd = image("gpt", 1 << 20);

    eq_int(ag_probe_gpt_type(fd, 512, 1, got), -ENOENT, "no table");
    put_gpt(fd, 2, 128, 128);
    ok(pwrite(fd, type, 16, 1024 + 128) == 16, "entry 2 is written");
    eq_int(ag_probe_gpt_type(fd, 512, 2, got), 0, "entry 2 is found");
    ok(memcmp(got, type, 16) == 0, "with its type");
    eq_int(ag_probe_gpt_type(fd, 512, 1, got), -ENOENT, "entry 1 is unused");
    eq_int(ag_probe_gpt_type(fd, 512, 0, got), -ENOENT, "there is no entry 0");
    eq_int(ag_probe_gpt_type(fd, 512, 129, got), -ENOENT, "nor one behind the last");
    put_gpt(fd, 2, 0xffffffff, 128);
    eq_int(ag_probe_gpt_type(fd, 512, 4000, got), -EPROTO, "an absurd count");
    put_gpt(fd, 2, 128, 0xffffff80);
    eq_int(ag_probe_gpt_type(fd, 512, 2, got), -EPROTO, "an absurd entry size");
    put_gpt(fd, 2, 128, 0);
    eq_int(ag_probe_gpt_type(fd, 512, 2, got), -EPROTO, "entries of no size");
    put_gpt(fd, UINT64_MAX - 1, 128, 128);
    eq_int(ag_probe_gpt_type(fd, 512, 2, got), -EPROTO, "a table beyond the end of numbers");
    put_gpt(fd, 1 << 20, 128, 128);
    eq_int(ag_probe_gpt_type(fd, 512, 2, got), -EPROTO, "a table behind the end of the disk");
    close(fd);
}

static void
test_choose(void)
{
    struct ag_part parts[] = {
        { 1, 100, "vfat", AG_PART_ANY }, { 2, 900, NULL, AG_PART_ANY }, { 3, 50, "ext4", AG_PART_ANY },
        { 4, 500, "xfs", AG_PART_ANY },
    };

    eq_int(ag_probe_choose(parts, 3, true), 2, "the only one with a file system of Linux");
    eq_int(ag_probe_choose(parts, 3, false), 2, "also of something else than a root");
    eq_int(ag_probe_choose(parts, 4, true), -ENOTUNIQ, "one of two is not guessed");
    parts[2].use = AG_PART_BOOT;
    eq_int(ag_probe_choose(parts, 4, true), 3, "what is for booting does not count");
    parts[2].use = AG_PART_ROOT;
    eq_int(ag_probe_choose(parts, 4, true), 2, "one that is typed as a root comes first");
    parts[1].use = AG_PART_ROOT;
    eq_int(ag_probe_choose(parts, 4, true), 2, "if it holds one");
    parts[3].use = AG_PART_ROOT;
    eq_int(ag_probe_choose(parts, 4, true), -ENOTUNIQ, "of two roots none is guessed");
    eq_int(ag_probe_choose(parts, 2, true), -ENOENT, "what a Linux system cannot be on is no root");
    eq_int(ag_probe_choose(parts, 2, false), 0, "but mounted if it is the only one");
    eq_int(ag_probe_choose(parts, 0, false), -ENOENT, "of none");
}

static void
test_part_use(void)
{
    static const uint8_t root[] = { 0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d,
                                    0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09 };
    static const uint8_t linux_data[] = { 0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                          0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4 };

    eq_int(ag_probe_part_use(root), AG_PART_ROOT, "the type of a root");
    eq_int(ag_probe_part_use(linux_data), AG_PART_ANY, "the type of any data");
}

static void
test_modules(void)
{
    static const char dep[] = "kernel/a/one.ko:\n"
                              "kernel/a/two-words.ko: kernel/a/one.ko\n"
                              "kernel/fs/xfs.ko.xz: kernel/a/two-words.ko kernel/a/one.ko\n"
                              "kernel/fs/notxfs.ko: kernel/a/one.ko\n"
                              "garbage";
    char **v = NULL;

    eq_int(ag_module_resolve(dep, "xfs", &v), 0, "a compressed module with needs");
    ok(v && !strcmp(v[0], "kernel/a/one.ko") && !strcmp(v[1], "kernel/a/two-words.ko") &&
           !strcmp(v[2], "kernel/fs/xfs.ko.xz") && !v[3], "what is needed comes first");
    mp_strv_free(v);
    eq_int(ag_module_resolve(dep, "one", &v), 0, "a module without");
    ok(v && !strcmp(v[0], "kernel/a/one.ko") && !v[1], "alone");
    mp_strv_free(v);
    eq_int(ag_module_resolve(dep, "two_words", &v), 0, "'-' and '_' are the same");
    mp_strv_free(v);
    eq_int(ag_module_resolve(dep, "fs", &v), -ENOENT, "not a part of a name");
    eq_int(ag_module_resolve("", "xfs", &v), -ENOENT, "nor from nothing");
}

static void
test_run(void)
{
    char *text;
    struct stat st;
    int from, to;

    mkdir("run1", 0755);
    mkdir("run2", 0755);
    mkdir("run1/app", 0750);
    put("run1/app/file", "content");
    ok(symlink("/elsewhere", "run1/link") == 0 && mkfifo("run1/fifo", 0644) == 0, "a link and a FIFO");
    from = open("run1", O_PATH | O_DIRECTORY | O_CLOEXEC);
    to = open("run2", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ag_run_seed(from, to);
    text = get("run2/app/file");
    eq_str(text, "content", "files are copied");
    free(text);
    ok(stat("run2/app", &st) == 0 && (st.st_mode & 07777) == 0750, "directories with their mode");
    ok(lstat("run2/link", &st) == 0 && S_ISLNK(st.st_mode), "links as links");
    ok(lstat("run2/fifo", &st) < 0, "nothing else");
    close(from);
    close(to);
}

int
main(void)
{
    char command[64];

    if (!mkdtemp(dir) || chdir(dir) < 0)
        return 99;
    test_paths();
    test_hosts();
    test_hosts_file();
    test_signatures();
    test_gpt();
    test_choose();
    test_part_use();
    test_modules();
    test_run();
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    if (chdir("/") < 0 || system(command) != 0)
        return 99;
    return tap_done();
}
