/* millrace_worker.h: what was asked, memory, progress. */
#include "worker/millrace_worker.h"

#include <string.h>

#include "worker/run.h"

#define STRINGS_MAX 65536u

const char *
millrace_job_id(const struct millrace_job *job)
{
    return job->id;
}

const char *
millrace_job_kind(const struct millrace_job *job)
{
    return job->kind;
}

uint32_t
millrace_job_attempt(const struct millrace_job *job)
{
    return job->attempt->number;
}

const void *
millrace_job_payload(const struct millrace_job *job, size_t *bytes)
{
    *bytes = job->attempt->payload.n;
    return job->attempt->payload.p;
}

bool
millrace_arg_int(struct millrace_job *job, const char *key, int64_t *out)
{
    return mr_body_int(job->args, key, out);
}

bool
millrace_arg_double(struct millrace_job *job, const char *key, double *out)
{
    return mr_body_double(job->args, key, out);
}

bool
millrace_arg_bool(struct millrace_job *job, const char *key, bool *out)
{
    return mr_body_bool(job->args, key, out);
}

static const char *
terminated(struct millrace_job *job, struct mr_span text)
{
    if (text.n && memchr(text.p, '\0', text.n))
        return NULL;
    return mr_arena_str(job->arena, text);
}

bool
millrace_arg_str(struct millrace_job *job, const char *key, const char **out)
{
    struct mr_span text;
    const char *copy;

    if (!mr_body_str(job->args, key, &text))
        return false;
    copy = terminated(job, text);
    if (copy)
        *out = copy;
    return copy != NULL;
}

const char *const *
millrace_arg_strs(struct millrace_job *job, const char *key, uint32_t *count)
{
    const char **strings;
    struct mr_span text;

    *count = 0;
    uint32_t n;
    if (!mr_body_array(job->args, key, &n) || n > STRINGS_MAX)
        return NULL;
    strings = mr_arena_alloc(job->arena, (n + 1) * sizeof *strings);
    if (!strings)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (!mr_body_array_str(job->args, key, i, &text))
            return NULL;
        strings[i] = terminated(job, text);
        if (!strings[i])
            return NULL;
    }
    strings[n] = NULL;
    *count = n;
    return strings;
}

bool
millrace_arg_is_given(struct millrace_job *job, const char *key)
{
    return mr_body_has(job->args, key);
}

void *
millrace_alloc(struct millrace_job *job, size_t bytes)
{
    return mr_arena_alloc(job->arena, bytes);
}

bool
millrace_is_cancelled(const struct millrace_job *job)
{
    /* The struct is ours and not const: what the handler was told decides what its answer is
     * worth. */
    struct millrace_job *own = (struct millrace_job *)(uintptr_t)job;

    if (atomic_load_explicit(&job->attempt->stop, memory_order_relaxed) == MR_STOP_NOT)
        return false;
    own->saw_stop = true;
    return true;
}

void
millrace_progress(struct millrace_job *job, uint32_t permille, const char *text)
{
    mr_attempt_progress(job->attempt, permille, mr_span_str(text));
    mr_run_tell(job);
}
