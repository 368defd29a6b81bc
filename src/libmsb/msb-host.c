/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host can do: the accelerator, and the rate of its time stamp
 * counter, which a guest without KVM must be told (its own calibration fails
 * on a busy host, and then its clock stands still).
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <x86intrin.h>
#endif

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-plan-private.h"
#include "msb-state.h"

/* ---- accelerator ------------------------------------------------------------------------------ */

static gboolean
cpu_has_virtualization(void)
{
#ifdef __x86_64__
    unsigned a, b, c, d;

    if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 5)))  /* VMX */
        return TRUE;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 2));  /* SVM */
#else
    return TRUE;
#endif
}

/* NULL if KVM is there to be used, otherwise why not (transfer full). */
static char *
why_no_kvm(void)
{
    mb_autofd int fd = -1;

    if (!cpu_has_virtualization())
        return g_strdup("the CPU shows neither vmx nor svm");
    fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        return g_strdup("/dev/kvm: permission denied (join the group kvm)");
    if (fd < 0)
        return g_strdup_printf("/dev/kvm: %s", g_strerror(errno));
    return NULL;
}

char *
msb_plan_choose_accel(const char *configured, char **why, GError **error)
{
    const char *env = g_getenv("MSB_ACCEL");
    const char *wanted = configured ? configured : env && *env ? env : NULL;
    g_autofree char *reason = NULL;

    if (why)
        *why = NULL;
    if (wanted && !g_str_equal(wanted, "kvm") && !g_str_equal(wanted, "tcg")) {
        msb_error_set(error, MSB_ERROR_INVALID, "accelerator '%s' is neither kvm nor tcg", wanted);
        return NULL;
    }
    if (wanted && g_str_equal(wanted, "tcg"))
        return g_strdup("tcg");
    reason = why_no_kvm();
    if (!reason)
        return g_strdup("kvm");
    if (wanted) {
        msb_error_set(error, MSB_ERROR_HYPERVISOR, "KVM was asked for and cannot be used: %s", reason);
        return NULL;
    }
    if (why)
        *why = g_strdup_printf("no KVM: %s; sandboxes run emulated, and slowly", reason);
    return g_strdup("tcg");
}

/* ---- time stamp counter -------------------------------------------------------------------------- */

#define TSC_STATE_VERSION 1
#define TSC_MIN_KHZ 100000
#define TSC_MAX_KHZ 20000000
#define TSC_MEASURE_NS G_GINT64_CONSTANT(20000000)
#define TSC_SAMPLES 64

#ifdef __x86_64__

/* A moment on both clocks, as close together as the best of some tries. */
typedef struct {
    guint64 tsc;
    gint64 ns;
} Moment;

static gint64
raw_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
    return (gint64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static Moment
take_moment(void)
{
    guint64 best = G_MAXUINT64;
    Moment m = { 0, 0 };
    int i;

    for (i = 0; i < TSC_SAMPLES; i++) {
        guint64 before = __rdtsc();
        gint64 ns = raw_ns();
        guint64 after = __rdtsc();

        if (after - before < best) {
            best = after - before;
            m.tsc = before + best / 2;
            m.ns = ns;
        }
    }
    return m;
}

/* The exact rate, where the CPU tells it and no hypervisor is in between. */
static guint
tsc_khz_by_cpuid(void)
{
    unsigned a, b, c, d;

    if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 31)))
        return 0;
    if (!__get_cpuid(0x15, &a, &b, &c, &d) || !a || !b || !c)
        return 0;
    return (guint)((guint64)c * b / a / 1000);
}

static guint
tsc_khz_by_clock(void)
{
    Moment from = take_moment(), to;
    guint64 khz;

    while (raw_ns() - from.ns < TSC_MEASURE_NS)
        ;
    to = take_moment();
    if (to.ns <= from.ns || to.tsc <= from.tsc)
        return 0;
    khz = (guint64)((unsigned __int128)(to.tsc - from.tsc) * 1000000 / (guint64)(to.ns - from.ns));
    return khz >= TSC_MIN_KHZ && khz <= TSC_MAX_KHZ ? (guint)khz : 0;
}

static guint
measure_tsc(void)
{
    guint khz = tsc_khz_by_cpuid();

    return khz ? khz : tsc_khz_by_clock();
}

#else

static guint
measure_tsc(void)
{
    return 0;
}

#endif

static char *
boot_id(void)
{
    char *id = NULL;

    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, NULL))
        return NULL;
    return g_strstrip(id);
}

static guint
load_tsc(const char *path, const char *boot)
{
    g_autoptr(JsonObject) object = msb_state_load(path, TSC_STATE_VERSION, NULL);
    g_autoptr(JsonNode) node = NULL;
    MsbJsonReader r;
    const char *stored;
    gboolean same;
    guint khz;

    if (!object)
        return 0;
    node = json_node_init_object(json_node_alloc(), object);
    msb_json_reader_begin(&r, node, path);
    msb_json_get_int(&r, "version", 0, 0, TSC_STATE_VERSION);
    stored = msb_json_get_string(&r, "boot_id");
    same = g_strcmp0(stored, boot) == 0;
    khz = (guint)msb_json_get_int(&r, "khz", 0, TSC_MIN_KHZ, TSC_MAX_KHZ);
    return msb_json_reader_end(&r, NULL) && same ? khz : 0;
}

static void
save_tsc(const char *path, const char *boot, guint khz)
{
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_int_member(object, "version", TSC_STATE_VERSION);
    json_object_set_string_member(object, "boot_id", boot);
    json_object_set_int_member(object, "khz", khz);
    /* Only a cache: without it the next start measures again. */
    (void)msb_state_save(path, object, NULL);
}

guint
msb_host_tsc_khz(const MsbHome *home)
{
    g_autofree char *path = msb_home_build_path(home, "run", ".tsc.json", NULL);
    g_autofree char *boot = boot_id();
    guint khz = boot ? load_tsc(path, boot) : 0;

    if (khz)
        return khz;
    khz = measure_tsc();
    if (khz && boot)
        save_tsc(path, boot, khz);
    return khz;
}
