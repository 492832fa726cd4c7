/* millrace_worker.h: what came out, and values for follow-up jobs. */
#include "worker/millrace_worker.h"

#include <stdarg.h>
#include <stdio.h>

#include "worker/run.h"

/* ---- the result ------------------------------------------------------------------------------ */

static struct mr_wr *
result_of(struct millrace_job *job)
{
    return &job->attempt->body;
}

void
millrace_put_map(struct millrace_job *job, uint32_t pairs)
{
    mr_wr_map(result_of(job), pairs);
}

void
millrace_put_array(struct millrace_job *job, uint32_t items)
{
    mr_wr_array(result_of(job), items);
}

void
millrace_put_str(struct millrace_job *job, const char *text)
{
    mr_wr_cstr(result_of(job), text);
}

void
millrace_put_int(struct millrace_job *job, int64_t v)
{
    mr_wr_int(result_of(job), v);
}

void
millrace_put_double(struct millrace_job *job, double v)
{
    mr_wr_double(result_of(job), v);
}

void
millrace_put_bool(struct millrace_job *job, bool v)
{
    mr_wr_bool(result_of(job), v);
}

void
millrace_put_nil(struct millrace_job *job)
{
    mr_wr_nil(result_of(job));
}

void
millrace_put_bin(struct millrace_job *job, const void *p, size_t bytes)
{
    mr_wr_bin(result_of(job), mr_span(p, bytes));
}

void
millrace_put_msgpack(struct millrace_job *job, const void *value, size_t bytes)
{
    mr_wr_raw(result_of(job), mr_span(value, bytes));
}

/* ---- answers --------------------------------------------------------------------------------- */

static void set_text(struct millrace_job *job, const char *format, va_list args)
    MR_PRINTF(2, 0);

static void
set_text(struct millrace_job *job, const char *format, va_list args)
{
    (void)vsnprintf(job->text, sizeof job->text, format, args);
    job->is_text_given = true;
}

enum millrace_answer
millrace_fail(struct millrace_job *job, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(job, format, args);
    va_end(args);
    return MILLRACE_FAILED;
}

enum millrace_answer
millrace_fail_for_good(struct millrace_job *job, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(job, format, args);
    va_end(args);
    return MILLRACE_FAILED_FOR_GOOD;
}

enum millrace_answer
millrace_fail_retry_after(struct millrace_job *job, uint32_t ms, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(job, format, args);
    va_end(args);
    job->retry_after_ms = ms;
    return MILLRACE_FAILED;
}

enum millrace_answer
millrace_snooze(struct millrace_job *job, uint32_t ms)
{
    job->retry_after_ms = ms;
    return MILLRACE_SNOOZED;
}

/* ---- small values ------------------------------------------------------------------------------ */

#define PACK_BYTES_MAX 65536u
#define PACK_BYTES_FIRST 512u

/* Grows in the job's arena: memory of an earlier size is simply left there. */
struct millrace_pack {
    struct millrace_job *job;
    struct mr_wr wr;
};

struct millrace_pack *
millrace_pack_new(struct millrace_job *job)
{
    struct millrace_pack *pack = mr_arena_alloc(job->arena, sizeof *pack);
    void *memory = mr_arena_alloc(job->arena, PACK_BYTES_FIRST);

    if (!pack || !memory)
        return NULL;
    pack->job = job;
    mr_wr_init_fixed(&pack->wr, memory, PACK_BYTES_FIRST);
    return pack;
}

static struct mr_wr *
with_room(struct millrace_pack *pack, size_t bytes)
{
    size_t need = pack->wr.n + bytes + 16;
    size_t room = pack->wr.cap;
    struct mr_wr larger;
    void *memory;

    if (need <= room || pack->wr.status || need > PACK_BYTES_MAX)
        return &pack->wr;
    while (room < need)
        room *= 2;
    memory = mr_arena_alloc(pack->job->arena, room);
    if (!memory)
        return &pack->wr; /* its own limit makes the error */
    mr_wr_init_fixed(&larger, memory, room);
    mr_wr_raw(&larger, mr_wr_span(&pack->wr));
    pack->wr = larger;
    return &pack->wr;
}

void
millrace_pack_map(struct millrace_pack *pack, uint32_t pairs)
{
    if (pack)
        mr_wr_map(with_room(pack, 0), pairs);
}

void
millrace_pack_array(struct millrace_pack *pack, uint32_t items)
{
    if (pack)
        mr_wr_array(with_room(pack, 0), items);
}

void
millrace_pack_str(struct millrace_pack *pack, const char *text)
{
    if (pack)
        mr_wr_cstr(with_room(pack, mr_span_str(text).n), text);
}

void
millrace_pack_int(struct millrace_pack *pack, int64_t v)
{
    if (pack)
        mr_wr_int(with_room(pack, 0), v);
}

const void *
millrace_pack_bytes(struct millrace_pack *pack, size_t *bytes)
{
    *bytes = 0;
    if (!pack || pack->wr.status ||
        mr_pack_scan(mr_wr_span(&pack->wr), MR_PAYLOAD_DEPTH_MAX - 1))
        return NULL;
    *bytes = pack->wr.n;
    return pack->wr.p;
}
