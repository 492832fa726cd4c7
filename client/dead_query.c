#include "client/dead_query.h"

#include <string.h>

#define PAGE_MAX 1000

static const char *const reasons[] = {"used-up", "for-good", "quarantined", "unknown"};

enum mr_status
mr_dead_query_filter(
    const struct mr_cli *cli, json_t *args, bool *is_all, struct mr_err *err)
{
    enum mr_status status = mr_cli_filter_word(
        cli, "reason", reasons, sizeof reasons / sizeof reasons[0], args, err);

    if (!status)
        status = mr_cli_filter_text(cli, "kind", args, err);
    if (!status)
        status = mr_cli_filter_text(cli, "queue", args, err);
    if (!status)
        status = mr_cli_filter_time(cli, "since", "since_us", args, err);
    if (!status)
        status = mr_cli_filter_time(cli, "until", "until_us", args, err);
    *is_all = json_object_size(args) == 0;
    return status;
}

/* Asks for a page and notes where the next one begins; NULL after a failure. */
static json_t *
fetch(struct mr_cli *cli, json_t *args, int64_t limit, bool *has_more, int *exit_code)
{
    json_t *reply, *rows;

    (void)json_object_set_new(args, "limit", json_integer(limit));
    reply = mr_cli_call(cli, "dead", json_incref(args), exit_code);
    if (!reply)
        return NULL;
    rows = json_incref(json_object_get(reply, "jobs"));
    *has_more = json_is_string(json_object_get(reply, "before"));
    (void)json_object_set(args, "until_us", json_object_get(reply, "until_us"));
    (void)json_object_set(args, "before", json_object_get(reply, "before"));
    json_decref(reply);
    return rows;
}

int
mr_dead_query_each(
    struct mr_cli *cli, json_t *args, int64_t limit, mr_dead_row_fn fn, void *context)
{
    json_t *place = json_copy(args);
    int exit_code = MR_CLI_OK;
    bool goes_on = true;

    while (goes_on && limit > 0) {
        json_t *rows =
            fetch(cli, place, limit < PAGE_MAX ? limit : PAGE_MAX, &goes_on, &exit_code);
        size_t count = json_array_size(rows);

        goes_on = goes_on && rows;
        for (size_t i = 0; i < count; i++)
            fn(context, json_array_get(rows, i));
        limit -= (int64_t)count;
        json_decref(rows);
    }
    json_decref(place);
    return exit_code;
}

json_t *
mr_dead_query_one(struct mr_cli *cli, const char *word, int *exit_code)
{
    struct millrace_id id;
    struct mr_err err;
    const char *state;
    json_t *job;

    if (mr_cli_parse_id(word, &id, &err)) {
        *exit_code = mr_cli_fail(cli, &err);
        return NULL;
    }
    job = mr_cli_call(cli, "show", mr_cli_id_args(&id), exit_code);
    if (!job)
        return NULL;
    state = json_string_value(json_object_get(job, "state"));
    if (state && strcmp(state, "failed") == 0)
        return job;
    if (state)
        (void)mr_err_setf(&err, MR_NOT_FOUND, "That job is not dead.",
            "Dead are those that have failed for ever: \"millrace dead\" lists them.",
            "%s is %s.", word, state);
    else
        (void)mr_err_setf(&err, MR_NO_JOB, "There is no such job.",
            "\"millrace dead\" lists those that are dead.", "%s", word);
    json_decref(job);
    *exit_code = mr_cli_fail(cli, &err);
    return NULL;
}
