#include "tests/support/bench.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"

enum { DEADLINE_MS = 600000, LOOK_MS = 5 };

static const unsigned char nothing[MR_BENCH_PAYLOAD_BYTES - 2]; /* and 2 in front of it */

/* ---- What is in the tables -------------------------------------------------------------------- */

/* Not above any id that is made from now on: those of the same millisecond are waited for. */
void
mr_bench_begin(struct mr_bench *bench)
{
    int64_t ms = mr_clock_now().wall_us / 1000;

    while (mr_clock_now().wall_us / 1000 <= ms)
        (void)poll(NULL, 0, 1);
    bench->began = (struct mr_uuid){.b = {0}};
    ms++;
    for (int i = 0; i < 6; i++)
        bench->began.b[i] = (uint8_t)(ms >> (40 - 8 * i));
}

void
mr_bench_check(struct mr_bench *bench, uint64_t jobs, uint64_t results)
{
    static const char sql[] =
        "select count(j.id), count(distinct j.id), count(r.id), count(distinct r.id), "
        "count(*) filter (where j.id is null) "
        "from (select id from millrace.job where id >= '%s') j "
        "full join (select id from millrace.result where id >= '%s') r using (id)";
    const uint64_t wanted[] = {jobs, jobs, results, results, 0};
    struct pg_result *row = NULL;
    struct mr_err err = {.why = ""};
    char text[MR_UUID_TEXT_MAX], query[512], why[160];
    uint64_t got[5];

    mr_uuid_format(bench->began, text);
    snprintf(query, sizeof query, sql, text, text);
    if (mr_pg_run(bench->pg, query, 0, NULL, &row, &err))
        mr_bench_fail(bench, err.what, err.why);
    for (int i = 0; i < 5; i++)
        got[i] = (uint64_t)mr_pg_int(row, 0, i);
    mr_pg_free_result(&row);
    if (memcmp(got, wanted, sizeof got) == 0)
        return;
    snprintf(why, sizeof why,
        "%" PRIu64 " jobs, but %" PRIu64 " rows with %" PRIu64 " ids; %" PRIu64
        " results, but %" PRIu64 " rows with %" PRIu64 " ids, %" PRIu64 " of no job",
        jobs, got[0], got[1], results, got[2], got[3], got[4]);
    mr_bench_fail(bench, "a job has not exactly one row in job and one in result", why);
}

/* ---- A stream --------------------------------------------------------------------------------- */

/* One thread sends and takes. */
struct stream {
    struct mr_bench *bench;
    const struct mr_bench_flow *flow;
    int64_t *began_us;
    struct millrace_job job;
    uint32_t sent, done;
};

static void
submit(struct stream *stream)
{
    struct millrace_error error;

    stream->job.id = millrace_id_new();
    stream->began_us[stream->sent] = mr_bench_now_us();
    if (millrace_submit_start(stream->bench->mr, &stream->job, MILLRACE_UNTIL_FINISHED,
            DEADLINE_MS, &stream->began_us[stream->sent], &error))
        mr_bench_fail(stream->bench, error.what, error.why);
    stream->sent++;
}

static void
on_completion(struct stream *stream, struct millrace_completion *completion)
{
    const int64_t *began_us = completion->tag;

    if (completion->code || completion->result.outcome != MILLRACE_SUCCEEDED)
        mr_bench_fail(stream->bench, "a job did not succeed", completion->error.why);
    if (!stream->flow->kind && completion->result.body_bytes != MR_BENCH_RESULT_BYTES)
        mr_bench_fail(stream->bench, "a job did not return 32 bytes", "");
    if (stream->flow->took_us)
        stream->flow->took_us[stream->done] = mr_bench_now_us() - *began_us;
    stream->done++;
    millrace_result_free(&completion->result);
}

/* Wait for one, then take all that are there. */
static void
take(struct stream *stream)
{
    struct millrace_completion completion;

    if (millrace_finish(stream->bench->mr, DEADLINE_MS, &completion) != 1)
        mr_bench_fail(stream->bench, "no job ends any more", "see .millrace/bench");
    do
        on_completion(stream, &completion);
    while (millrace_poll(stream->bench->mr, &completion) == 1);
}

static void
make_job(struct millrace_job *job, const char *kind, struct millrace_pack *args)
{
    millrace_job_init(job, kind ? kind : "bench.answer");
    if (kind)
        return;
    millrace_pack_bin(args, nothing, sizeof nothing);
    job->args = args->bytes;
    job->args_bytes = args->n;
}

double
mr_bench_flow(struct mr_bench *bench, const struct mr_bench_flow *flow)
{
    struct stream stream = {.bench = bench, .flow = flow};
    struct millrace_pack args = {.bytes = NULL};
    int64_t began_us;

    stream.began_us = calloc(flow->jobs, sizeof *stream.began_us);
    if (!stream.began_us)
        mr_bench_fail(bench, "no memory", "for the times of all jobs");
    make_job(&stream.job, flow->kind, &args);
    began_us = mr_bench_now_us();
    while (stream.done < flow->jobs) {
        while (stream.sent < flow->jobs && stream.sent - stream.done < flow->in_flight)
            submit(&stream);
        take(&stream);
    }
    began_us = mr_bench_now_us() - began_us;
    millrace_pack_free(&args);
    free(stream.began_us);
    return (double)began_us / 1e6;
}

/* ---- Jobs that wait --------------------------------------------------------------------------- */

static void
call_queue(struct mr_bench *bench, const char *method)
{
    struct millrace_pack args = {.bytes = NULL};
    struct millrace_error error;
    void *reply = NULL;
    size_t n;

    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "queue");
    millrace_pack_str(&args, "default");
    if (millrace_call(
            bench->mr, method, args.bytes, args.n, DEADLINE_MS, &reply, &n, &error))
        mr_bench_fail(bench, error.what, error.why);
    free(reply);
    millrace_pack_free(&args);
}

void
mr_bench_pause(struct mr_bench *bench)
{
    call_queue(bench, "pause");
}

void
mr_bench_resume(struct mr_bench *bench)
{
    call_queue(bench, "resume");
}

double
mr_bench_fill(struct mr_bench *bench, uint32_t jobs)
{
    struct millrace_job *all = calloc(jobs, sizeof *all);
    int *codes = calloc(jobs, sizeof *codes);
    struct millrace_pack args = {.bytes = NULL};
    struct millrace_error error;
    int64_t began_us;

    if (!all || !codes)
        mr_bench_fail(bench, "no memory", "for the jobs");
    make_job(&all[0], NULL, &args);
    for (uint32_t i = 1; i < jobs; i++) {
        all[i] = all[0];
        all[i].id = millrace_id_new();
    }
    began_us = mr_bench_now_us();
    if (millrace_submit_many(bench->mr, all, jobs, codes, DEADLINE_MS, &error))
        mr_bench_fail(bench, error.what, error.why);
    began_us = mr_bench_now_us() - began_us;
    free(all);
    free(codes);
    millrace_pack_free(&args);
    return (double)began_us / 1e6;
}

void
mr_bench_await_idle(struct mr_bench *bench)
{
    int64_t until_us = mr_bench_now_us() + DEADLINE_MS * INT64_C(1000);

    while (mr_bench_stat(bench, "jobs") > 0) {
        if (mr_bench_now_us() > until_us)
            mr_bench_fail(bench, "jobs do not end", "see .millrace/bench");
        (void)poll(NULL, 0, LOOK_MS);
    }
}
