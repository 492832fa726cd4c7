#include "broker/call_principal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ARGS_MAX 32u
#define NUMBER_BYTES 24
#define METHOD_PREFIX "principal_"

/* The writer hands it to the database as text. */
static enum mr_status
read_value(struct mr_rd *rd, struct mr_task *task, const char **out)
{
    char number[NUMBER_BYTES];
    struct mr_span text;

    if (mr_rd_peek(rd) == MR_PACK_UINT) {
        (void)snprintf(number, sizeof number, "%" PRId64, mr_rd_int(rd));
        text = mr_span_str(number);
    } else {
        text = mr_rd_str(rd, MR_PRINCIPAL_FIELD_BYTES);
    }
    if (rd->status || text.n == 0 || memchr(text.p, 0, text.n))
        return MR_BAD_ARGUMENT;
    *out = mr_arena_str(task->arena, text);
    return *out ? MR_OK : MR_NO_MEMORY;
}

static enum mr_status
read_fields(struct mr_rd *rd, struct mr_task *task)
{
    uint32_t count = mr_rd_map(rd, ARGS_MAX);
    enum mr_status status = rd->status;

    for (uint32_t i = 0; i < count && status == MR_OK; i++) {
        struct mr_span key = mr_rd_str(rd, MR_NAME_BYTES_MAX);
        size_t field = 0;

        if (mr_rd_skip_nil(rd))
            continue; /* not given */
        while (field < MR_PRINCIPAL_FIELDS &&
               !mr_span_is(key, mr_principal_field_name((enum mr_principal_field)field)))
            field++;
        if (field < MR_PRINCIPAL_FIELDS)
            status = read_value(rd, task, &task->change.fields[field]);
        else
            mr_rd_skip(rd);
    }
    return status;
}

enum mr_status
mr_call_principal_read(struct mr_span method, struct mr_rd args, struct mr_task *task)
{
    size_t prefix = strlen(METHOD_PREFIX);

    for (size_t i = 0; task->type == MR_TASK_PRINCIPAL && i < MR_PRINCIPAL_VERBS; i++) {
        if (method.n > prefix && mr_span_is(mr_span(method.p + prefix, method.n - prefix),
                                     mr_principal_verb_name((enum mr_principal_verb)i)))
            task->change.verb = (enum mr_principal_verb)i;
    }
    return mr_rd_skip_nil(&args) ? MR_OK : read_fields(&args, task);
}
