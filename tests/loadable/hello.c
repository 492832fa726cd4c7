#include "worker/millrace_worker.h"

static enum millrace_answer
hello(struct millrace_job *job)
{
    const char *name;
    if (!millrace_arg_str(job, "name", &name))
        return millrace_fail_for_good(job, "`name` is missing: give {\"name\": TEXT}");
    if (!millrace_sql(job, "create table if not exists greeting (name text)", 0, NULL) ||
        !millrace_sql(job, "insert into greeting values ($1)", 1, &name))
        return millrace_sql_failed(job);
    millrace_put_map(job, 1);
    millrace_put_str(job, "hello");
    millrace_put_str(job, name);
    return MILLRACE_SUCCEEDED; /* the row and the result commit together, or not at all */
}

static const struct millrace_kind hello_kind = {.name = "demo.hello",
    .help = "{name} -> {hello}",
    .run = hello,
    .is_transactional = true};
const struct millrace_kind *const millrace_kinds[] = {&hello_kind, NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
