/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent channel: see sv-agent.h. */
#include <config.h>

#include <errno.h>

#include "mb-cleanup.h"
#include "mb-log.h"
#include "msb-error.h"
#include "sv-agent.h"
#include "sv-log.h"
#include "sv-relay-private.h"

/* Bytes that are told of what a guest that fails to boot says it was about, and why. */
#define OBJECT_MAX 256u
#define MESSAGE_MAX 1024u

struct SvAgent {
    MsbLink *link;
    SvAgentStage stage;
    struct mp_boot *boot;
    SvRelay *relay;
    const SvAgentFuncs *funcs;
    gpointer data;
    struct mb_ratelimit log_limit;   /* a guest may log as often as it likes */
};

static gboolean
protocol_error(GError **error, const char *what)
{
    g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "the guest's agent broke the protocol: %s", what);
    return FALSE;
}

static gboolean
take_hello(SvAgent *agent, const guint8 *payload, gsize n, GError **error)
{
    g_auto(SvEnc) e = { 0 };
    struct mp_dec d;
    guint32 version;

    mp_dec_init(&d, payload, n);
    version = mp_get_u32(&d);
    if (mp_dec_end(&d) < 0 || agent->stage != SV_AGENT_SILENT)
        return protocol_error(error, "a HELLO that is malformed or out of turn");
    if (version != MP_VERSION) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_BOOT,
                    "the agent in the guest speaks version %u of the protocol, not %d: "
                    "msb-agent and msb-supervisor are of different builds", version, MP_VERSION);
        return FALSE;
    }
    agent->boot->realtime_ns = (guint64)g_get_real_time() * 1000;
    if (mp_boot_encode(&e, agent->boot) < 0) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                    "the environment and mounts of the sandbox are too long to be sent to the guest");
        return FALSE;
    }
    agent->stage = SV_AGENT_BOOTING;
    agent->funcs->hello(agent->data);
    msb_link_send(agent->link, &e);
    return TRUE;
}

static gboolean
take_ready(SvAgent *agent, const guint8 *payload, gsize n, GError **error)
{
    struct mp_ready ready = { 0 };

    if (agent->stage != SV_AGENT_BOOTING || mp_ready_decode(&ready, payload, n) < 0)
        return protocol_error(error, "a READY that is malformed or out of turn");
    agent->stage = SV_AGENT_READY;
    sv_relay_set_agent(agent->relay, agent->link);
    agent->funcs->ready(&ready, agent->data);
    mp_ready_clear(&ready);
    return TRUE;
}

static gboolean
take_boot_failed(SvAgent *agent, const guint8 *payload, gsize n, GError **error)
{
    struct mp_boot_failed failed = { 0 };
    g_autofree char *object = NULL;
    g_autofree char *message = NULL;

    if (agent->stage != SV_AGENT_BOOTING || mp_boot_failed_decode(&failed, payload, n) < 0)
        return protocol_error(error, "a BOOT_FAILED that is malformed or out of turn");
    object = sv_printable(failed.object, OBJECT_MAX);
    message = sv_printable(failed.message, MESSAGE_MAX);
    msb_error_set(error, MSB_ERROR_BOOT, "the guest failed at the stage '%s'%s%s: %s%s%s", mp_stage_name(failed.stage),
                  *object ? ", " : "", object, message, failed.error ? ": " : "",
                  failed.error ? g_strerror((int)failed.error) : "");
    mp_boot_failed_clear(&failed);
    return FALSE;
}

static gboolean
take_log(SvAgent *agent, const guint8 *payload, gsize n, GError **error)
{
    struct mp_dec d;
    mb_autofree char *text = NULL;

    mp_dec_init(&d, payload, n);
    (void)mp_get_u8(&d);
    text = mp_get_str(&d);
    if (mp_dec_end(&d) < 0)
        return protocol_error(error, "a LOG that is malformed");
    if (mb_ratelimit_ok(&agent->log_limit))
        sv_log_line("agent", text);
    return TRUE;
}

static gboolean
agent_frame(MsbLink *link G_GNUC_UNUSED, const struct mp_header *h, const guint8 *payload, gpointer data,
            GError **error)
{
    SvAgent *agent = data;

    if (h->session != 0) {
        g_autoptr(GError) local = NULL;

        if (agent->stage != SV_AGENT_READY || sv_relay_agent_frame(agent->relay, h, payload, &local))
            return TRUE;
        return protocol_error(error, local->message);
    }
    switch (h->type) {
    case MP_HELLO:
        return take_hello(agent, payload, h->length, error);
    case MP_READY:
        return take_ready(agent, payload, h->length, error);
    case MP_BOOT_FAILED:
        return take_boot_failed(agent, payload, h->length, error);
    case MP_LOG:
        return take_log(agent, payload, h->length, error);
    default:
        /* PONG, or what a later agent has to say. */
        return TRUE;
    }
}

static void
agent_drained(MsbLink *link G_GNUC_UNUSED, gpointer data)
{
    SvAgent *agent = data;

    if (agent->stage == SV_AGENT_READY)
        sv_relay_agent_drained(agent->relay);
}

static void
agent_closed(MsbLink *link G_GNUC_UNUSED, const GError *error, gpointer data)
{
    SvAgent *agent = data;
    g_autoptr(GError) local = NULL;

    agent->stage = SV_AGENT_GONE;
    if (!error)
        g_set_error(&local, MSB_ERROR, MSB_ERROR_NOT_RUNNING, "the guest's agent channel closed");
    else if (error->domain == MSB_ERROR && error->code == MSB_ERROR_IO)
        g_set_error(&local, MSB_ERROR, MSB_ERROR_CORRUPT, "the guest's agent channel failed: %s", error->message);
    sv_relay_end_sessions(agent->relay, local ? local->message : error->message);
    agent->funcs->gone(local ? local : error, agent->data);
}

static const MsbLinkFuncs link_funcs = { agent_frame, agent_drained, agent_closed };

SvAgent *
sv_agent_new(int fd, struct mp_boot *boot, SvRelay *relay, const SvAgentFuncs *funcs, gpointer data)
{
    SvAgent *agent = g_new0(SvAgent, 1);

    agent->boot = boot;
    agent->relay = relay;
    agent->funcs = funcs;
    agent->data = data;
    agent->log_limit = (struct mb_ratelimit)MB_RATELIMIT_INIT(200, 10000);
    agent->link = msb_link_new(fd, &link_funcs, agent);
    return agent;
}

void
sv_agent_free(SvAgent *agent)
{
    if (!agent)
        return;
    sv_relay_set_agent(agent->relay, NULL);
    msb_link_unref(agent->link);
    g_free(agent);
}

SvAgentStage
sv_agent_get_stage(const SvAgent *agent)
{
    return agent->stage;
}

void
sv_agent_shutdown(SvAgent *agent, guint32 grace_ms)
{
    g_auto(SvEnc) e = { 0 };

    mp_enc_begin(&e, MP_SHUTDOWN, 0, 0);
    mp_put_u32(&e, grace_ms);
    mp_put_u8(&e, MP_SHUTDOWN_POWEROFF);
    if (mp_enc_end(&e) == 0)
        msb_link_send(agent->link, &e);
}
