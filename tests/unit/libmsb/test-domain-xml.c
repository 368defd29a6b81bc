/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domain XML of some plans against tests/xml/<case>.xml.  After a change
 * on purpose: MSB_TEST_REGENERATE=1 writes the files anew; then read the diff.
 */
#include <config.h>

#include "msb-config-private.h"
#include "plan-util.h"

/* What the files say instead of the temporary directory. */
#define HOME_IN_FILES "/home/user/.microsandbox"

typedef struct {
    const char *name;
    void (*configure)(MsbConfig *config, MsbPlanInput *in);
} Case;

static void
configure_minimal(MsbConfig *config, MsbPlanInput *in)
{
}

static void
configure_mounts(MsbConfig *config, MsbPlanInput *in)
{
    msb_config_set_cpus(config, 8);
    msb_config_set_memory_mib(config, 4096);
    plan_add_mount(config, MSB_MOUNT_FLAG_VOLUME, "data:/srv/data:ro");
    plan_add_mount(config, MSB_MOUNT_FLAG_TMPFS, "/tmp:64M");
    plan_add_mount(config, MSB_MOUNT_FLAG_DISK, "/etc/passwd:/disk:ro");
    plan_add_mount(config, MSB_MOUNT_FLAG_DIR, "/etc:/srv");
}

static void
configure_kvm(MsbConfig *config, MsbPlanInput *in)
{
    in->accel = "kvm";
}

static void
configure_system(MsbConfig *config, MsbPlanInput *in)
{
    in->system = TRUE;
}

static void
configure_bind_root(MsbConfig *config, MsbPlanInput *in)
{
    msb_config_set_image(config, "/usr");
    in->n_layers = 0;
    in->layers = NULL;
    in->image_reference = NULL;
}

/* Characters that XML wants escaped, in everything a user can choose. */
static void
configure_escapes(MsbConfig *config, MsbPlanInput *in)
{
    in->image_reference = "</title>&\"'<x>";
    in->vmlinux = "/store/<&>/vmlinux";
}

static const Case cases[] = {
    { "minimal", configure_minimal },     { "mounts", configure_mounts }, { "kvm", configure_kvm },
    { "system", configure_system },       { "bind-root", configure_bind_root },
    { "escapes", configure_escapes },
};

static char *
xml_of(const Case *c)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbHome) home = msb_home_open(dir, &error);
    g_autoptr(MsbConfig) config = msb_config_new();
    g_autoptr(MsbPlan) plan = NULL;
    MsbPlanInput in = plan_input(home, config);
    g_autofree char *xml = NULL;
    g_auto(GStrv) parts = NULL;

    msb_config_set_name(config, "box");
    msb_config_set_image(config, "busybox");
    msb_config_set_created(config, G_GINT64_CONSTANT(1700000000) * G_USEC_PER_SEC);
    c->configure(config, &in);
    plan = msb_plan_build(&in, &error);
    g_assert_no_error(error);
    g_free(plan->uuid);
    plan->uuid = g_strdup("5f0c5d4e-5c9b-5b6e-8f7a-0123456789ab");
    xml = msb_domain_xml(plan, &error);
    g_assert_no_error(error);
    parts = g_strsplit(xml, dir, -1);
    return g_strjoinv(HOME_IN_FILES, parts);
}

/* The label of a system domain has the caller's ids. */
static char *
without_ids(const char *xml)
{
    g_autoptr(GRegex) regex = g_regex_new("<label>[^<]*</label>", 0, 0, NULL);

    return g_regex_replace_literal(regex, xml, -1, 0, "<label>+0:+0</label>", 0, NULL);
}

static void
test_case(gconstpointer data)
{
    const Case *c = data;
    g_autofree char *raw = xml_of(c), *xml = without_ids(raw), *expected = NULL;
    g_autofree char *file = g_strdup_printf("%s.xml", c->name);
    const char *srcdir = g_getenv("abs_top_srcdir");
    g_autofree char *path = g_build_filename(srcdir ? srcdir : ".", "tests", "xml", file, NULL);
    g_autoptr(GError) error = NULL;

    if (g_getenv("MSB_TEST_REGENERATE")) {
        g_file_set_contents(path, xml, -1, &error);
        g_assert_no_error(error);
    }
    g_file_get_contents(path, &expected, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(xml, ==, expected);
}

static void
test_unwritable(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autoptr(MsbHome) home = msb_home_open(dir, NULL);
    g_autoptr(MsbConfig) config = msb_config_new();
    g_autoptr(MsbPlan) plan = NULL, control = NULL;
    MsbPlanInput in = plan_input(home, config);
    g_autoptr(GError) error = NULL;

    msb_config_set_name(config, "box");
    in.image_reference = "bad\xff";
    plan = msb_plan_build(&in, &error);
    g_assert_no_error(error);
    g_assert_null(msb_domain_xml(plan, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "the image is not UTF-8");
    in.image_reference = "bad\x01";
    control = msb_plan_build(&in, &error);
    g_assert_null(msb_domain_xml(control, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "control character");
}

int
main(int argc, char **argv)
{
    gsize i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/domain-xml/%s", cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/domain-xml/unwritable", test_unwritable);
    return g_test_run();
}
