/*
 * Take a message apart with every accessor of its verb, print the fields as one line, and
 * write them again. The vectors' test and the fuzzer both do this to every byte they have.
 */
#ifndef MR_TEST_WIRE_ECHO_H
#define MR_TEST_WIRE_ECHO_H

#include <inttypes.h>
#include <stdio.h>

#include "schemas/wire/msg.h"

static inline void
echo_hex(FILE *out, const char *key, struct mr_span bytes)
{
    fprintf(out, " %s=", key);
    for (size_t i = 0; i < bytes.n; i++)
        fprintf(out, "%02x", bytes.p[i]);
}

static inline void
echo_id(FILE *out, const char *key, const struct mr_uuid *id)
{
    echo_hex(out, key, mr_span(id->b, sizeof id->b));
}

static inline void
echo_name(FILE *out, const char *key, struct mr_span text)
{
    fprintf(out, " %s=", key);
    if (text.n > 0)
        (void)fwrite(text.p, 1, text.n, out);
}

static inline void
echo_text(FILE *out, const char *key, struct mr_span text)
{
    fprintf(out, " %s=\"", key);
    if (text.n > 0)
        (void)fwrite(text.p, 1, text.n, out);
    fputc('"', out);
}

static inline void
echo_policy(FILE *out, uint32_t factor_percent, uint32_t jitter)
{
    fprintf(out, " factor=%" PRIu32 " jitter=", factor_percent);
    if (jitter)
        fprintf(out, "%" PRIu32, mr_jitter_percent(jitter));
    else
        fputc('-', out);
}

static inline enum mr_status
echo_hello(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    static struct mr_offer offers[MR_KINDS_PER_WORKER_MAX];
    struct mr_hello hello, all;
    enum mr_status status = mr_get_hello(msg, &hello);

    if (status != MR_OK)
        return status;
    fprintf(out, " proto=%" PRIu32 "-%" PRIu32 " role=%d", hello.proto_min,
        hello.proto_max, (int)hello.role);
    echo_id(out, "instance", &hello.instance);
    echo_text(out, "name", hello.name);
    fprintf(out, " threads=%" PRIu32, hello.threads);
    all = hello;
    for (uint32_t i = 0; hello.offers > 0; i++) {
        struct mr_offer *offer = &offers[i];
        status = mr_get_offer(&hello, offer);
        if (status != MR_OK)
            return status;
        echo_name(out, "kind", offer->kind);
        fprintf(out,
            " running_max=%" PRIu32 " timeout_ms=%" PRIu32 " attempts_max=%" PRIu32
            " backoff=%" PRIu32 "-%" PRIu32,
            offer->running_max, offer->timeout_ms, offer->attempts_max,
            offer->backoff_base_ms, offer->backoff_cap_ms);
        echo_policy(out, offer->backoff_factor_percent, offer->backoff_jitter);
        fprintf(out, " tx=%d", offer->is_transactional);
    }
    mr_put_hello(wr, msg->corr, &all, offers);
    return MR_OK;
}

static inline enum mr_status
echo_welcome(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_welcome it;
    enum mr_status status = mr_get_welcome(msg, &it);

    fprintf(out, " proto=%" PRIu32 " session=%" PRIu64, it.proto, it.session);
    echo_id(out, "instance", &it.instance);
    fprintf(out,
        " shard=%" PRIu32 " epoch=%" PRIu64 " heartbeat_ms=%" PRIu32 " payload=%" PRIu32
        " result=%" PRIu32 " message=%" PRIu32 " jobs=%" PRIu32 " window=%" PRIu32
        " wall_us=%" PRId64,
        it.shard, it.epoch, it.heartbeat_ms, it.payload_bytes_max, it.result_bytes_max,
        it.message_bytes_max, it.jobs_per_message_max, it.window_jobs, it.wall_us);
    mr_put_welcome(wr, msg->corr, &it);
    return status;
}

static inline enum mr_status
echo_ping(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    bool ask;
    enum mr_status status = mr_get_ping(msg, &ask);

    fprintf(out, " ask=%d", ask);
    mr_put_ping(wr, msg->corr, ask);
    return status;
}

static inline enum mr_status
echo_bye(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_span reason;
    uint32_t flags;
    enum mr_status status = mr_get_bye(msg, &reason, &flags);

    echo_text(out, "reason", reason);
    fprintf(out, " flags=%" PRIu32, flags);
    mr_put_bye(wr, msg->corr, reason, flags);
    return status;
}

static inline enum mr_status
echo_error(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_error it;
    enum mr_status status = mr_get_error(msg, &it);

    fprintf(out, " code=%d", (int)it.code);
    echo_text(out, "text", it.text);
    fprintf(out, " retry_after_ms=%" PRIu32, it.retry_after_ms);
    mr_put_error(wr, msg->corr, &it);
    return status;
}

static inline void
echo_job_new(FILE *out, const struct mr_job_new *job)
{
    echo_id(out, "id", &job->id);
    echo_name(out, "kind", job->kind);
    echo_hex(out, "payload", job->payload);
    fprintf(out, " priority=%u", job->priority);
    echo_name(out, "lane", job->lane);
    fprintf(out,
        " run_at=%" PRId64 " delay=%" PRIu32 " expires=%" PRId64 " timeout=%" PRIu32
        " attempts=%" PRIu32 " backoff=%" PRIu32 "-%" PRIu32,
        job->run_at_us, job->delay_ms, job->expires_at_us, job->timeout_ms,
        job->attempts_max, job->backoff_base_ms, job->backoff_cap_ms);
    echo_policy(out, job->backoff_factor_percent, job->backoff_jitter);
    echo_name(out, "trace", job->trace);
    if (!mr_uuid_is_none(job->redrive_of))
        echo_id(out, "redrive_of", &job->redrive_of);
}

static inline enum mr_status
echo_submit(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_submit submit;
    struct mr_job_new job;
    uint32_t jobs = 0;
    enum mr_status status = mr_get_submit(msg, &submit);

    if (status != MR_OK)
        return status;
    echo_name(out, "queue", submit.queue);
    fprintf(out, " flags=%" PRIu32, submit.flags);
    size_t mark = mr_put_submit_open(wr, msg->corr, submit.queue, submit.flags);
    for (; status == MR_OK && submit.jobs > 0; jobs++) {
        status = mr_get_submit_job(&submit, &job);
        echo_job_new(out, &job);
        mr_put_submit_job(wr, &job);
    }
    mr_put_submit_close(wr, mark, jobs);
    return status;
}

static inline enum mr_status
echo_ack(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    static struct mr_verdict verdicts[MR_ITEMS_PER_MESSAGE_MAX];
    struct mr_ack ack;
    uint32_t count = 0;
    enum mr_status status = mr_get_ack(msg, &ack);

    if (status != MR_OK)
        return status;
    fprintf(
        out, " count=%" PRIu32 " retry_after_ms=%" PRIu32, ack.count, ack.retry_after_ms);
    for (; status == MR_OK && ack.verdicts > 0; count++) {
        status = mr_get_verdict(&ack, &verdicts[count]);
        fprintf(out, " index=%" PRIu32 " code=%d", verdicts[count].index,
            (int)verdicts[count].code);
        echo_text(out, "text", verdicts[count].text);
    }
    mr_put_ack(wr, msg->corr, ack.count, verdicts, count, ack.retry_after_ms);
    return status;
}

static inline enum mr_status
echo_watch(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    static struct mr_uuid ids[MR_ITEMS_PER_MESSAGE_MAX];
    struct mr_watch watch;
    uint32_t count = 0;
    enum mr_status status = mr_get_watch(msg, &watch);

    if (status != MR_OK)
        return status;
    fprintf(out, " on=%d", watch.on);
    for (; status == MR_OK && watch.ids > 0; count++) {
        status = mr_get_watch_id(&watch, &ids[count]);
        echo_id(out, "id", &ids[count]);
    }
    mr_put_watch(wr, msg->corr, ids, count, watch.on);
    return status;
}

static inline enum mr_status
echo_events(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_events events;
    struct mr_event it;
    uint32_t count = 0;
    enum mr_status status = mr_get_events(msg, &events);
    size_t mark = mr_put_events_open(wr, msg->corr);

    for (; status == MR_OK && events.events > 0; count++) {
        status = mr_get_event(&events, &it);
        echo_id(out, "id", &it.id);
        fprintf(out, " type=%d attempt=%" PRIu32 " permille=%" PRIu32 " outcome=%d",
            (int)it.type, it.attempt, it.permille, (int)it.outcome);
        echo_text(out, "text", it.text);
        echo_hex(out, "body", it.body);
        fprintf(out, " at=%" PRId64, it.at_us);
        mr_put_event(wr, &it);
    }
    mr_put_events_close(wr, mark, count);
    return status;
}

static inline enum mr_status
echo_credit(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    uint64_t limit;
    enum mr_status status = mr_get_credit(msg, &limit);

    fprintf(out, " limit=%" PRIu64, limit);
    mr_put_credit(wr, limit);
    return status;
}

static inline enum mr_status
echo_jobs(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_jobs jobs;
    struct mr_job_sent it;
    uint32_t count = 0;
    enum mr_status status = mr_get_jobs(msg, &jobs);
    size_t mark = mr_put_jobs_open(wr, msg->corr);

    for (; status == MR_OK && jobs.jobs > 0; count++) {
        status = mr_get_job(&jobs, &it);
        echo_id(out, "id", &it.id);
        fprintf(out, " attempt=%" PRIu32, it.attempt);
        echo_name(out, "kind", it.kind);
        echo_hex(out, "payload", it.payload);
        fprintf(out, " timeout=%" PRIu32, it.timeout_ms);
        echo_name(out, "queue", it.queue);
        echo_name(out, "trace", it.trace);
        fprintf(out, " submitted=%" PRId64, it.submitted_at_us);
        mr_put_job(wr, &it);
    }
    mr_put_jobs_close(wr, mark, count);
    return status;
}

static inline enum mr_status
echo_dones(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_dones dones;
    struct mr_done it;
    uint32_t count = 0;
    enum mr_status status = mr_get_dones(msg, &dones);

    if (status != MR_OK)
        return status;
    fprintf(out, " flags=%" PRIu32, dones.flags);
    size_t mark = mr_put_dones_open(wr, msg->corr, dones.flags);
    for (; status == MR_OK && dones.dones > 0; count++) {
        status = mr_get_done(&dones, &it);
        echo_id(out, "id", &it.id);
        fprintf(out, " attempt=%" PRIu32 " report=%d", it.attempt, (int)it.report);
        echo_text(out, "text", it.text);
        echo_hex(out, "body", it.body);
        fprintf(out,
            " started=%" PRId64 " finished=%" PRId64 " retry=%" PRIu32 " outcome=%d",
            it.started_at_us, it.finished_at_us, it.retry_after_ms, (int)it.outcome);
        mr_put_done(wr, &it);
    }
    mr_put_dones_close(wr, mark, count);
    return status;
}

static inline enum mr_status
echo_beat(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_beat beat;
    struct mr_held it;
    uint32_t count = 0;
    enum mr_status status = mr_get_beat(msg, &beat);
    size_t mark = mr_put_beat_open(wr, msg->corr);

    for (; status == MR_OK && beat.held > 0; count++) {
        status = mr_get_held(&beat, &it);
        echo_id(out, "id", &it.id);
        fprintf(out, " attempt=%" PRIu32 " permille=%" PRIu32, it.attempt, it.permille);
        echo_text(out, "text", it.text);
        mr_put_held(wr, &it);
    }
    mr_put_beat_close(wr, mark, count);
    return status;
}

static inline enum mr_status
echo_revoke(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_revoke revoke;
    struct mr_revoked it;
    uint32_t count = 0;
    enum mr_status status = mr_get_revoke(msg, &revoke);
    size_t mark = mr_put_revoke_open(wr, msg->corr);

    for (; status == MR_OK && revoke.items > 0; count++) {
        status = mr_get_revoked(&revoke, &it);
        echo_id(out, "id", &it.id);
        fprintf(out, " attempt=%" PRIu32 " why=%d", it.attempt, (int)it.why);
        mr_put_revoked(wr, &it);
    }
    mr_put_revoke_close(wr, mark, count);
    return status;
}

static inline enum mr_status
echo_call(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_call call;
    char method[MR_NAME_BYTES_MAX + 1];
    enum mr_status status = mr_get_call(msg, &call);

    if (status != MR_OK)
        return status;
    snprintf(
        method, sizeof method, "%.*s", (int)call.method.n, (const char *)call.method.p);
    struct mr_span args = mr_rd_raw(&call.args);
    fprintf(out, " method=%s", method);
    echo_hex(out, "args", args);
    mr_put_call_open(wr, msg->corr, method);
    mr_wr_raw(wr, args);
    return status;
}

static inline enum mr_status
echo_reply(const struct mr_msg *msg, FILE *out, struct mr_wr *wr)
{
    struct mr_reply it;
    enum mr_status status = mr_get_reply(msg, &it);

    fprintf(out, " code=%d", (int)it.code);
    echo_text(out, "text", it.text);
    echo_hex(out, "result", it.result);
    mr_put_reply_open(wr, msg->corr, it.code, it.text);
    mr_wr_raw(wr, it.result);
    return status;
}

/* The line goes to `out`, the message to `wr`. Both are worth nothing unless MR_OK. */
static inline enum mr_status
echo_message(struct mr_span frame, FILE *out, struct mr_wr *wr)
{
    static enum mr_status (*const echoes[MR_VERB_COUNT])(
        const struct mr_msg *, FILE *, struct mr_wr *) = {
        [MR_HELLO] = echo_hello,
        [MR_WELCOME] = echo_welcome,
        [MR_PING] = echo_ping,
        [MR_BYE] = echo_bye,
        [MR_ERROR] = echo_error,
        [MR_SUBMIT] = echo_submit,
        [MR_ACK] = echo_ack,
        [MR_WATCH] = echo_watch,
        [MR_EVENT] = echo_events,
        [MR_CREDIT] = echo_credit,
        [MR_JOBS] = echo_jobs,
        [MR_DONE] = echo_dones,
        [MR_BEAT] = echo_beat,
        [MR_REVOKE] = echo_revoke,
        [MR_CALL] = echo_call,
        [MR_REPLY] = echo_reply,
    };
    struct mr_msg msg;
    enum mr_status status = mr_msg_open(frame, &msg);

    if (status != MR_OK)
        return status;
    fprintf(out, "%s corr=%" PRIu64, mr_verb_name(msg.verb), msg.corr);
    return echoes[msg.verb](&msg, out, wr);
}

#endif
