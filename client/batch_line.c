#include "client/batch_line.h"

#include <stddef.h>
#include <string.h>

#include "client/cli.h"
#include "client/json.h"
#include "schemas/base/clock.h"
#include "schemas/wire/limits.h"

enum field_type {
    FIELD_TEXT,
    FIELD_NUMBER,
    FIELD_PRIORITY,
    FIELD_JITTER,
    FIELD_TIME,
    FIELD_ID,
    FIELD_ARGS
};

static const struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    int64_t max;
} fields[] = {
    {"kind", FIELD_TEXT, offsetof(struct millrace_job, kind), 0},
    {"queue", FIELD_TEXT, offsetof(struct millrace_job, queue), 0},
    {"lane", FIELD_TEXT, offsetof(struct millrace_job, lane), 0},
    {"args", FIELD_ARGS, 0, 0},
    {"id", FIELD_ID, 0, 0},
    {"priority", FIELD_PRIORITY, 0, MR_PRIORITY_MAX},
    {"delay_ms", FIELD_NUMBER, offsetof(struct millrace_job, delay_ms), UINT32_MAX},
    {"timeout_ms", FIELD_NUMBER, offsetof(struct millrace_job, timeout_ms), UINT32_MAX},
    {"attempts_max", FIELD_NUMBER, offsetof(struct millrace_job, attempts_max),
        MR_ATTEMPTS_MAX},
    {"backoff_base_ms", FIELD_NUMBER, offsetof(struct millrace_job, backoff_base_ms),
        UINT32_MAX},
    {"backoff_cap_ms", FIELD_NUMBER, offsetof(struct millrace_job, backoff_cap_ms),
        UINT32_MAX},
    {"backoff_factor_percent", FIELD_NUMBER,
        offsetof(struct millrace_job, backoff_factor_percent), MR_BACKOFF_FACTOR_MAX},
    {"backoff_jitter_percent", FIELD_JITTER, 0, MR_BACKOFF_JITTER_MAX},
    {"run_at", FIELD_TIME, offsetof(struct millrace_job, run_at_us), 0},
    {"expires_at", FIELD_TIME, offsetof(struct millrace_job, expires_at_us), 0},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static enum mr_status
refuse(struct mr_err *err, const char *name, const char *key, const char *todo)
{
    return mr_err_setf(err, MR_MALFORMED, "A line of the batch cannot be used.", todo,
        "%s: \"%.64s\".", name, key);
}

static enum mr_status
unknown(struct mr_err *err, const char *name, const char *key)
{
    const char *names[FIELD_COUNT];
    const char *near;
    char todo[128];

    for (size_t i = 0; i < FIELD_COUNT; i++)
        names[i] = fields[i].name;
    near = mr_nearest(key, names, FIELD_COUNT);
    (void)snprintf(todo, sizeof todo,
        near ? "There is no such key; did you mean \"%s\"?"
             : "There is no such key; \"args\" is the place for the job's own.",
        near);
    return refuse(err, name, key, todo);
}

static enum mr_status
take_number(struct mr_batch_line *line, const struct field *field, const json_t *value,
    const char *name, struct mr_err *err)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || number > field->max)
        return refuse(
            err, name, field->name, "It has to be a whole number in its range.");
    if (field->type == FIELD_PRIORITY)
        line->job.priority = (int)number;
    else if (field->type == FIELD_JITTER)
        line->job.backoff_jitter_percent = number ? (uint32_t)number : MILLRACE_NO_JITTER;
    else
        *(uint32_t *)(void *)((char *)&line->job + field->offset) = (uint32_t)number;
    return MR_OK;
}

static enum mr_status
take_time(struct mr_batch_line *line, const struct field *field, const json_t *value,
    const char *name, struct mr_err *err)
{
    int64_t *at = (int64_t *)(void *)((char *)&line->job + field->offset);
    const char *text = json_string_value(value);

    if (text && mr_cli_parse_time(text, mr_clock_now().wall_us, at, NULL) == MR_OK)
        return MR_OK;
    return refuse(
        err, name, field->name, "It has to be a time: \"2026-11-24T01:49:47Z\".");
}

static enum mr_status
take_field(struct mr_batch_line *line, const struct field *field, const json_t *value,
    const char *name, struct mr_err *err)
{
    const char *text = json_string_value(value);

    switch (field->type) {
    case FIELD_TEXT:
        *(const char **)(void *)((char *)&line->job + field->offset) = text;
        return text ? MR_OK : refuse(err, name, field->name, "It has to be a text.");
    case FIELD_NUMBER:
    case FIELD_PRIORITY:
    case FIELD_JITTER:
        return take_number(line, field, value, name, err);
    case FIELD_TIME:
        return take_time(line, field, value, name, err);
    case FIELD_ID:
        line->has_id = text && millrace_id_parse(text, &line->job.id) == MILLRACE_OK;
        return line->has_id ? MR_OK : refuse(err, name, "id", "It has to be a UUID.");
    case FIELD_ARGS:
        return mr_json_pack(value, &line->args, err);
    }
    return MR_INTERNAL;
}

static enum mr_status
take_all(struct mr_batch_line *line, const char *name, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    const char *key;
    json_t *value;

    if (!json_is_object(line->json))
        return refuse(
            err, name, "...", "Write one object a line: {\"kind\":\"test.noop\"}.");
    json_object_foreach(line->json, key, value)
    {
        size_t i = 0;

        while (i < FIELD_COUNT && strcmp(fields[i].name, key) != 0)
            i++;
        status = i < FIELD_COUNT ? take_field(line, &fields[i], value, name, err)
                                 : unknown(err, name, key);
        if (status)
            return status;
    }
    if (!line->job.kind)
        return refuse(err, name, "kind", "Say which kind of job it is.");
    line->job.args = line->args.n ? line->args.p : NULL;
    line->job.args_bytes = line->args.n;
    return MR_OK;
}

enum mr_status
mr_batch_line_parse(
    struct mr_span text, const char *name, struct mr_batch_line *out, struct mr_err *err)
{
    enum mr_status status;

    *out = (struct mr_batch_line){.has_id = false};
    mr_wr_init(&out->args, MR_PAYLOAD_BYTES_MAX);
    out->job.priority = (int)MR_PRIORITY_DEFAULT;
    status = mr_json_parse(text, name, &out->json, err);
    if (!status)
        status = take_all(out, name, err);
    if (status)
        mr_batch_line_fini(out);
    return status;
}

void
mr_batch_line_fini(struct mr_batch_line *line)
{
    json_decref(line->json);
    line->json = NULL;
    mr_wr_fini(&line->args);
}
