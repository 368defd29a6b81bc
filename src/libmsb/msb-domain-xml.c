/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A plan as a libvirt domain.  Everything a device needs on QEMU's microvm is
 * spelt out: virtio-mmio addresses, no USB, balloon or video, shared memory for
 * the back-ends.  Two things libvirt cannot say: virtio-mmio devices of virtio
 * 1.0 (a -global), and the name of the vhost-user-blk device (an override).
 */
#include <config.h>

#include <libxml/tree.h>
#include <libxml/xmlsave.h>
#include <string.h>
#include <unistd.h>

#include "mp-msg.h"
#include "msb-error.h"
#include "msb-plan.h"

#define METADATA_URI "urn:x-msb:domain:1.0"
#define QEMU_URI "http://libvirt.org/schemas/domain/qemu/1.0"
#define RECONNECT_SECONDS "1"
#define VIRTIOFS_QUEUE_SIZE "1024"

/* ---- libxml2, shortened ----------------------------------------------------------------------- */

static xmlNodePtr
child(xmlNodePtr parent, const char *name)
{
    return xmlNewChild(parent, NULL, BAD_CAST name, NULL);
}

static void
attr(xmlNodePtr node, const char *name, const char *value)
{
    xmlNewProp(node, BAD_CAST name, BAD_CAST value);
}

static xmlNodePtr
child_attr(xmlNodePtr parent, const char *name, const char *key, const char *value)
{
    xmlNodePtr node = child(parent, name);

    attr(node, key, value);
    return node;
}

static xmlNodePtr
child_text(xmlNodePtr parent, const char *name, const char *text)
{
    return xmlNewTextChild(parent, NULL, BAD_CAST name, BAD_CAST text);
}

static void
child_uint(xmlNodePtr parent, const char *name, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    child_text(parent, name, text);
}

static void
mmio_address(xmlNodePtr device)
{
    child_attr(device, "address", "type", "virtio-mmio");
}

/* ---- what the machine is ------------------------------------------------------------------------- */

static void
add_metadata(xmlNodePtr domain, const MsbPlan *plan)
{
    xmlNodePtr sandbox = xmlNewChild(child(domain, "metadata"), NULL, BAD_CAST "sandbox", NULL);
    xmlNsPtr ns = xmlNewNs(sandbox, BAD_CAST METADATA_URI, BAD_CAST "msb");
    g_autoptr(GDateTime) created = g_date_time_new_from_unix_utc(plan->created / G_USEC_PER_SEC);
    g_autofree char *when = created ? g_date_time_format(created, "%Y-%m-%dT%H:%M:%SZ") : NULL;

    xmlSetNs(sandbox, ns);
    xmlNewTextChild(sandbox, ns, BAD_CAST "name", BAD_CAST plan->name);
    xmlNewTextChild(sandbox, ns, BAD_CAST "image", BAD_CAST plan->image);
    xmlNewTextChild(sandbox, ns, BAD_CAST "state", BAD_CAST plan->state_dir);
    if (when)
        xmlNewTextChild(sandbox, ns, BAD_CAST "created", BAD_CAST when);
}

static void
add_identity(xmlNodePtr domain, const MsbPlan *plan)
{
    g_autofree char *description = g_strdup_printf(
        "A sandbox of msb, made from %s. Start it with 'msb start %s': its devices are served by msb.", plan->image,
        plan->name);

    child_text(domain, "name", plan->domain_name);
    child_text(domain, "uuid", plan->uuid);
    child_text(domain, "title", plan->title);
    child_text(domain, "description", description);
    add_metadata(domain, plan);
}

static void
add_machine(xmlNodePtr domain, const MsbPlan *plan)
{
    xmlNodePtr memory, backing, os, type, cpu;
    g_autofree char *mib = g_strdup_printf("%" G_GUINT64_FORMAT, plan->memory_mib);

    memory = child_text(domain, "memory", mib);
    attr(memory, "unit", "MiB");
    backing = child(domain, "memoryBacking");
    child_attr(backing, "source", "type", "memfd");
    child_attr(backing, "access", "mode", "shared");
    child_uint(domain, "vcpu", plan->cpus);

    os = child(domain, "os");
    type = child_text(os, "type", "hvm");
    attr(type, "arch", "x86_64");
    attr(type, "machine", "microvm");
    child_text(os, "kernel", plan->vmlinux);
    child_text(os, "initrd", plan->initrd);
    child_text(os, "cmdline", plan->cmdline);

    child(child(domain, "features"), "acpi");
    cpu = child(domain, "cpu");
    if (g_str_equal(plan->accel, "kvm")) {
        attr(cpu, "mode", "host-passthrough");
        attr(cpu, "check", "none");
        attr(cpu, "migratable", "off");
    } else {
        attr(cpu, "mode", "maximum");
        attr(cpu, "check", "none");
    }
    child_attr(domain, "clock", "offset", "utc");
    child_text(domain, "on_poweroff", "destroy");
    child_text(domain, "on_reboot", "destroy");
    child_text(domain, "on_crash", "destroy");
}

/* ---- devices ---------------------------------------------------------------------------------------- */

static char *
disk_alias(const MsbDevice *device)
{
    return g_strconcat("ua-", device->id, NULL);
}

static void
add_disk(xmlNodePtr devices, const MsbDevice *device, guint index)
{
    xmlNodePtr disk = child_attr(devices, "disk", "type", "vhostuser"), driver, source, reconnect, target;
    g_autofree char *name = g_strdup_printf("vd%c", 'a' + (int)index), *alias = disk_alias(device);
    g_autofree char *queues = g_strdup_printf("%u", device->queues);

    attr(disk, "device", "disk");
    driver = child_attr(disk, "driver", "name", "qemu");
    attr(driver, "type", "raw");
    attr(driver, "queues", queues);
    source = child_attr(disk, "source", "type", "unix");
    attr(source, "path", device->socket);
    reconnect = child_attr(source, "reconnect", "enabled", "yes");
    attr(reconnect, "timeout", RECONNECT_SECONDS);
    target = child_attr(disk, "target", "dev", name);
    attr(target, "bus", "virtio");
    child_attr(disk, "alias", "name", alias);
    mmio_address(disk);
}

static void
add_filesystem(xmlNodePtr devices, const MsbDevice *device)
{
    xmlNodePtr fs = child_attr(devices, "filesystem", "type", "mount"), driver;

    driver = child_attr(fs, "driver", "type", "virtiofs");
    attr(driver, "queue", VIRTIOFS_QUEUE_SIZE);
    child_attr(fs, "source", "socket", device->socket);
    child_attr(fs, "target", "dir", device->id);
    mmio_address(fs);
}

static void
add_agent_channel(xmlNodePtr devices, const MsbPlan *plan)
{
    xmlNodePtr controller = child_attr(devices, "controller", "type", "virtio-serial"), channel, source, target;

    attr(controller, "index", "0");
    mmio_address(controller);
    channel = child_attr(devices, "channel", "type", "unix");
    source = child_attr(channel, "source", "mode", "bind");
    attr(source, "path", plan->agent_socket);
    target = child_attr(channel, "target", "type", "virtio");
    attr(target, "name", MP_PORT_NAME);
}

/* A PTY for virsh console, with everything also in the sandbox's log. */
static void
add_console(xmlNodePtr devices, const MsbPlan *plan)
{
    xmlNodePtr serial = child_attr(devices, "serial", "type", "pty"), log, target;

    log = child_attr(serial, "log", "file", plan->console_log);
    attr(log, "append", "on");
    target = child_attr(serial, "target", "type", "isa-serial");
    attr(target, "port", "0");
}

static void
add_devices(xmlNodePtr domain, const MsbPlan *plan)
{
    xmlNodePtr devices = child(domain, "devices"), usb, rng, backend;
    guint i, disks = 0;

    for (i = 0; i < plan->devices->len; i++) {
        const MsbDevice *device = g_ptr_array_index(plan->devices, i);

        if (device->kind == MSB_DEVICE_BLK)
            add_disk(devices, device, disks++);
    }
    for (i = 0; i < plan->devices->len; i++) {
        const MsbDevice *device = g_ptr_array_index(plan->devices, i);

        if (device->kind == MSB_DEVICE_FS)
            add_filesystem(devices, device);
    }
    usb = child_attr(devices, "controller", "type", "usb");
    attr(usb, "model", "none");
    add_agent_channel(devices, plan);
    add_console(devices, plan);
    child_attr(devices, "memballoon", "model", "none");
    rng = child_attr(devices, "rng", "model", "virtio");
    backend = child_text(rng, "backend", "/dev/urandom");
    attr(backend, "model", "random");
    mmio_address(rng);
}

/* QEMU runs with our own identity: the sockets and images are in directories of ours, mode 0700. */
static void
add_seclabel(xmlNodePtr domain)
{
    g_autofree char *label = g_strdup_printf("+%u:+%u", (unsigned)geteuid(), (unsigned)getegid());
    xmlNodePtr node = child_attr(domain, "seclabel", "type", "static");

    attr(node, "model", "dac");
    attr(node, "relabel", "no");
    child_text(node, "label", label);
}

/* ---- beyond libvirt's own words --------------------------------------------------------------------- */

static xmlNodePtr
qemu_child(xmlNodePtr parent, const char *name)
{
    xmlNodePtr node = child(parent, name);

    xmlSetNs(node, xmlSearchNsByHref(parent->doc, parent, BAD_CAST QEMU_URI));
    return node;
}

static void
add_override(xmlNodePtr override, const MsbDevice *device)
{
    g_autofree char *alias = disk_alias(device);
    xmlNodePtr node = qemu_child(override, "device"), property;

    attr(node, "alias", alias);
    property = qemu_child(qemu_child(node, "frontend"), "property");
    attr(property, "name", "driver");
    attr(property, "type", "string");
    attr(property, "value", "vhost-user-blk");
}

static void
add_qemu(xmlNodePtr domain, const MsbPlan *plan)
{
    static const char *const args[] = { "-global", "virtio-mmio.force-legacy=false" };
    xmlNodePtr commandline, capabilities, override;
    guint i;

    commandline = qemu_child(domain, "commandline");
    for (i = 0; i < G_N_ELEMENTS(args); i++)
        attr(qemu_child(commandline, "arg"), "value", args[i]);
    /* libvirt would read every single property of the CPU at every start, 600 questions; without this capability
     * it asks two that mean the same. */
    capabilities = qemu_child(domain, "capabilities");
    attr(qemu_child(capabilities, "del"), "capability", "cpu-unavailable-features");
    override = qemu_child(domain, "override");
    for (i = 0; i < plan->devices->len; i++) {
        const MsbDevice *device = g_ptr_array_index(plan->devices, i);

        if (device->kind == MSB_DEVICE_BLK)
            add_override(override, device);
    }
}

/* libxml2 writes what it is given: text that XML cannot hold must not get that far. */
static gboolean
check_text(const char *what, const char *text, GError **error)
{
    const char *p;

    if (!g_utf8_validate(text, -1, NULL))
        return msb_error_set(error, MSB_ERROR_INVALID, "%s is not UTF-8 text, which libvirt needs", what);
    for (p = text; *p; p++) {
        if (g_ascii_iscntrl(*p))
            return msb_error_set(error, MSB_ERROR_INVALID, "%s '%s' has a control character in it", what, text);
    }
    return TRUE;
}

static gboolean
check_texts(const MsbPlan *plan, GError **error)
{
    return check_text("the path of the state directory", plan->state_dir, error) &&
           check_text("the path of the run directory", plan->run_dir, error) &&
           check_text("the image", plan->image, error) && check_text("the kernel's path", plan->vmlinux, error) &&
           check_text("the initrd's path", plan->initrd, error);
}

char *
msb_domain_xml(const MsbPlan *plan, GError **error)
{
    xmlBufferPtr buffer;
    xmlSaveCtxtPtr save;
    xmlNodePtr domain;
    xmlDocPtr doc;
    char *text;

    if (!check_texts(plan, error))
        return NULL;
    doc = xmlNewDoc(BAD_CAST "1.0");
    domain = xmlNewNode(NULL, BAD_CAST "domain");
    xmlDocSetRootElement(doc, domain);
    attr(domain, "type", g_str_equal(plan->accel, "kvm") ? "kvm" : "qemu");
    xmlNewNs(domain, BAD_CAST QEMU_URI, BAD_CAST "qemu");
    add_identity(domain, plan);
    add_machine(domain, plan);
    add_devices(domain, plan);
    if (plan->system)
        add_seclabel(domain);
    add_qemu(domain, plan);

    buffer = xmlBufferCreate();
    save = xmlSaveToBuffer(buffer, "UTF-8", XML_SAVE_FORMAT | XML_SAVE_NO_DECL);
    xmlSaveDoc(save, doc);
    xmlSaveClose(save);
    text = g_strconcat((const char *)xmlBufferContent(buffer), "\n", NULL);
    xmlBufferFree(buffer);
    xmlFreeDoc(doc);
    return text;
}
