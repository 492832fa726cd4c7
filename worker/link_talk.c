#include "worker/link_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "schemas/base/log.h"

void
mr_link_talk_fall(struct mr_link *link, const char *why, struct mr_span text)
{
    link->must_fall = true;
    (void)snprintf(link->why, sizeof link->why, "%s%s%.*s", why, text.n ? ": " : "",
        (int)(text.n < 256 ? text.n : 256), text.n ? (const char *)text.p : "");
}

static void
write_ready_file(struct mr_link *link)
{
    const char *path = link->conf.settings->ready_file;
    char temporary[4096];
    FILE *file;
    bool is_good;

    if (!path[0] || link->is_ready)
        return;
    (void)snprintf(temporary, sizeof temporary, "%s.new", path);
    file = fopen(temporary, "we");
    is_good = file && fputs("ready\n", file) >= 0;
    if (file)
        is_good = fclose(file) == 0 && is_good;
    if (!is_good || rename(temporary, path) != 0)
        mr_log(MR_LOG_ERROR, "ready_file", "path=%s why=\"%s\"", path, strerror(errno));
}

static void
on_welcome(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    struct mr_welcome welcome;

    if (link->state != MR_LINK_GREETING)
        return;
    if (mr_get_welcome(msg, &welcome) || welcome.heartbeat_ms == 0) {
        mr_link_talk_fall(link, "a WELCOME that cannot be read", MR_SPAN_NONE);
        return;
    }
    link->state = MR_LINK_UP;
    link->rounds = 0;
    link->has_complained = false;
    link->heartbeat_us = welcome.heartbeat_ms * INT64_C(1000);
    mr_session_welcomed(link->session, now, welcome.heartbeat_ms);
    mr_log(MR_LOG_INFO, "connected", "endpoint=%s shard=%u epoch=%llu held=%u",
        link->endpoint, welcome.shard, (unsigned long long)welcome.epoch,
        mr_session_held(link->session));
    write_ready_file(link);
    link->is_ready = true;
}

static void
on_ping(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    bool asks = false;

    (void)now;
    /* If the socket is full, there is enough on its way that says we live. */
    if (mr_get_ping(msg, &asks) || !asks || link->out.n)
        return;
    mr_put_ping(&link->out, msg->corr, false);
    mr_link_send(link);
}

static void
on_bye(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    struct mr_span reason = MR_SPAN_NONE;
    uint32_t flags = 0;

    if (mr_get_bye(msg, &reason, &flags)) {
        reason = MR_SPAN_NONE;
        flags = 0;
    }
    if (!(flags & MR_BYE_DRAIN)) {
        mr_link_talk_fall(link, "the broker said BYE", reason);
    } else if (!mr_session_is_draining(link->session)) {
        mr_log(MR_LOG_INFO, "stopping", "drain_ms=%lld why=\"%.*s\"",
            (long long)link->conf.settings->drain_ms, (int)reason.n,
            reason.n ? (const char *)reason.p : "");
        mr_session_drain(link->session, now);
    }
}

static void
on_error(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    struct mr_error error;
    uint32_t lost;

    if (mr_get_error(msg, &error))
        return;
    if (link->state == MR_LINK_GREETING) {
        link->is_refused = error.code >= 300 && error.code < 400;
        mr_link_talk_fall(link, mr_status_name(error.code), error.text);
        return;
    }
    if (error.code == MR_NO_SESSION || (error.code >= 200 && error.code < 300)) {
        mr_link_talk_fall(link, mr_status_name(error.code), error.text);
        return;
    }
    lost = mr_session_refused(
        link->session, now, msg->corr, error.code, error.retry_after_ms);
    if (lost || !mr_status_is_retryable(error.code))
        mr_log(MR_LOG_ERROR, "refused", "status=%s outcomes=%u text=\"%.*s\"",
            mr_status_name(error.code), lost, (int)error.text.n,
            error.text.n ? (const char *)error.text.p : "");
}

static void
on_ack(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    (void)now;
    mr_session_acked(link->session, msg->corr);
}

static void
on_jobs(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    struct mr_jobs jobs;
    struct mr_job_sent sent;
    enum mr_status status = mr_get_jobs(msg, &jobs);

    while (status == MR_OK && jobs.jobs > 0) {
        status = mr_get_job(&jobs, &sent);
        if (status == MR_OK)
            status = mr_session_job(link->session, now, &sent);
    }
    if (status)
        mr_link_talk_fall(
            link, "jobs that cannot be taken", mr_span_str(mr_status_name(status)));
}

static void
on_revoke(struct mr_link *link, const struct mr_msg *msg, struct mr_now now)
{
    struct mr_revoke revoke;
    struct mr_revoked item;
    enum mr_status status = mr_get_revoke(msg, &revoke);

    while (status == MR_OK && revoke.items > 0) {
        status = mr_get_revoked(&revoke, &item);
        if (status == MR_OK)
            mr_session_revoked(link->session, now, &item);
    }
    if (status)
        mr_link_talk_fall(link, "a REVOKE that cannot be read", MR_SPAN_NONE);
}

typedef void (*message_fn)(
    struct mr_link *link, const struct mr_msg *msg, struct mr_now now);

static const struct {
    message_fn handle;
    bool needs_session;
} handlers[MR_VERB_COUNT] = {
    [MR_WELCOME] = {on_welcome, false},
    [MR_PING] = {on_ping, true},
    [MR_BYE] = {on_bye, false},
    [MR_ERROR] = {on_error, false},
    [MR_ACK] = {on_ack, true},
    [MR_JOBS] = {on_jobs, true},
    [MR_REVOKE] = {on_revoke, true},
};

void
mr_link_talk_frame(struct mr_link *link, struct mr_span frame, struct mr_now now)
{
    struct mr_msg msg;

    if (mr_msg_open(frame, &msg) || !handlers[msg.verb].handle)
        return;
    link->heard_us = now.mono_us;
    if (!handlers[msg.verb].needs_session || link->state == MR_LINK_UP)
        handlers[msg.verb].handle(link, &msg, now);
}
