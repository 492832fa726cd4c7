#include "tests/support/stream.h"

#include <stddef.h>

/* Between two looks at the clock when jobs come at a rate. */
enum { DEADLINE_MS = 60000, TICK_MS = 2 };

struct state {
    struct mr_bench *bench;
    const struct mr_stream *stream;
    struct millrace_pack args;
    int64_t began_us;
    uint32_t sent, ended;
};

static void
submit(struct state *state)
{
    const struct mr_stream *stream = state->stream;
    struct millrace_error error;
    struct millrace_job job;

    millrace_job_init(&job, stream->kind);
    state->args.n = 0;
    if (stream->put_args) {
        stream->put_args(&state->args, state->sent);
        job.args = state->args.bytes;
        job.args_bytes = state->args.n;
    }
    if (millrace_submit_start(state->bench->mr, &job, MILLRACE_UNTIL_FINISHED,
            DEADLINE_MS, (void *)(intptr_t)mr_bench_now_us(), &error))
        mr_bench_fail(state->bench, error.what, error.why);
    state->sent++;
}

static void
on_completion(struct state *state, struct millrace_completion *completion)
{
    if (completion->code || completion->result.outcome != MILLRACE_SUCCEEDED)
        mr_bench_fail(state->bench, "a job did not succeed",
            completion->result.text ? completion->result.text : completion->error.why);
    if (state->stream->on_end)
        state->stream->on_end(state->stream->context, &completion->result,
            (int64_t)(intptr_t)completion->tag);
    millrace_result_free(&completion->result);
    state->ended++;
}

/* Wait for one, then take all that are there. */
static void
take(struct state *state, int timeout_ms)
{
    struct millrace_completion completion;

    if (millrace_finish(state->bench->mr, timeout_ms, &completion) != 1) {
        if (timeout_ms == DEADLINE_MS)
            mr_bench_fail(state->bench, "no job ends any more", "see .millrace/bench");
        return;
    }
    do
        on_completion(state, &completion);
    while (millrace_poll(state->bench->mr, &completion) == 1);
}

static double
elapsed_s(const struct state *state)
{
    return (double)(mr_bench_now_us() - state->began_us) / 1e6;
}

/* How many may have been submitted by now. */
static uint32_t
due(const struct state *state, uint32_t jobs)
{
    double by_rate = state->stream->jobs_per_s * elapsed_s(state);
    uint32_t by_window = state->ended + state->stream->in_flight;

    if (by_window < jobs)
        jobs = by_window;
    return state->stream->jobs_per_s > 0 && by_rate < jobs ? (uint32_t)by_rate : jobs;
}

static uint32_t
run(struct state *state, uint32_t jobs, double seconds)
{
    state->began_us = mr_bench_now_us();
    while (state->sent < jobs && elapsed_s(state) < seconds) {
        uint32_t until = due(state, jobs);

        while (state->sent < until)
            submit(state);
        take(state, state->stream->jobs_per_s > 0 ? TICK_MS : DEADLINE_MS);
    }
    while (state->ended < state->sent)
        take(state, DEADLINE_MS);
    millrace_pack_free(&state->args);
    return state->ended;
}

double
mr_stream_jobs(struct mr_bench *bench, const struct mr_stream *stream, uint32_t jobs)
{
    struct state state = {.bench = bench, .stream = stream};

    (void)run(&state, jobs, 1e9);
    return elapsed_s(&state);
}

uint32_t
mr_stream_seconds(struct mr_bench *bench, const struct mr_stream *stream, double seconds)
{
    struct state state = {.bench = bench, .stream = stream};

    return run(&state, UINT32_MAX, seconds);
}
