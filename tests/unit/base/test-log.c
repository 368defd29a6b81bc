/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mb-log.h: one line per message, levels, control characters, errno, rate limit. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "mb-log.h"
#include "tap.h"

static int log_pipe[2];

/* What was logged since the last time. */
static const char *
logged(void)
{
    static char buf[8192];
    ssize_t n = read(log_pipe[0], buf, sizeof(buf) - 1);

    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

static void
test_lines(void)
{
    char long_text[5000];

    mb_log_set_name("test");
    errno = ENOENT;
    mb_error("open '%s': %m", "x");
    eq_int(errno, ENOENT, "errno is left alone");
    eq_str(logged(), "test: error: open 'x': No such file or directory\n", "a line");
    mb_warn("evil\nname\033[2Jtab\tend");
    eq_str(logged(), "test: warn: evil?name?[2Jtab\tend\n", "control characters are replaced");
    mb_info("caf\xc3\xa9 \xff");
    eq_str(logged(), "test: info: caf\xc3\xa9 \xff\n", "other bytes are not");
    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    mb_error("%s", long_text);
    ok(strlen(logged()) < 2100 && strchr(logged(), '\n') == NULL, "a long message is cut");
}

static void
test_levels(void)
{
    enum mb_log_level level = MB_LOG_WARN;
    int evaluated = 0;

    eq_int(mb_log_parse_level("debug", &level), 0, "a level's name");
    eq_int(level, MB_LOG_DEBUG, "is that level");
    eq_int(mb_log_parse_level("loud", &level), -EINVAL, "another name is none");
    mb_log_set_level(MB_LOG_WARN);
    mb_info("quiet");
    mb_debug("%d", ++evaluated);
    eq_str(logged(), "", "below the level nothing is logged");
    eq_int(evaluated, 0, "nor evaluated for debugging");
    mb_log_set_level(MB_LOG_DEBUG);
    mb_debug("%d", ++evaluated);
    eq_str(logged(), "test: debug: 1\n", "but at it");
}

static void
test_ratelimit(void)
{
    struct mb_ratelimit limit = MB_RATELIMIT_INIT(3, 3600 * 1000), none = MB_RATELIMIT_INIT(1, 0);
    unsigned i, passed = 0, always = 0;

    for (i = 0; i < 1000; i++) {
        passed += mb_ratelimit_ok(&limit);
        always += mb_ratelimit_ok(&none);
    }
    eq_int(passed, 3, "three of a thousand pass");
    eq_int(always, 1000, "all pass when the window is over at once");
    for (i = 0; i < 100; i++)
        mb_warn_limited("again");
    eq_int(strlen(logged()), 5 * strlen("test: warn: again\n"), "five warnings of a place in ten seconds");
}

int
main(void)
{
    if (pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return 1;
    mb_log_set_fd(log_pipe[1]);
    test_lines();
    test_levels();
    test_ratelimit();
    return tap_done();
}
