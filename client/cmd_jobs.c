#include "client/cli.h"

#include <string.h>

#include "schemas/base/clock.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 1000

static const char *const columns[] = {"id", "kind", "queue", "state", "priority",
    "attempts", "submitted_at", "run_at", "finished_at", "error", NULL};

static enum mr_status
add_text(const struct mr_cli *cli, const char *name, json_t *args)
{
    const char *text = mr_cli_option(cli, name);

    return !text || json_object_set_new(args, name, json_string(text)) == 0
               ? MR_OK
               : MR_NO_MEMORY;
}

static enum mr_status
add_time(const struct mr_cli *cli, const char *name, const char *key, json_t *args,
    struct mr_err *err)
{
    const char *text = mr_cli_option(cli, name);
    enum mr_status status;
    int64_t us;

    if (!text)
        return MR_OK;
    status = mr_cli_parse_time(text, mr_clock_now().wall_us, &us, err);
    return status || json_object_set_new(args, key, json_integer(us)) == 0 ? status
                                                                           : MR_NO_MEMORY;
}

static enum mr_status
check_state(const struct mr_cli *cli, struct mr_err *err)
{
    static const char *const states[] = {
        "waiting", "retrying", "succeeded", "failed", "cancelled", "expired"};
    const char *text = mr_cli_option(cli, "state");
    const char *near;
    char todo[128];

    for (size_t i = 0; text && i < sizeof states / sizeof states[0]; i++)
        if (strcmp(text, states[i]) == 0)
            return MR_OK;
    if (!text)
        return MR_OK;
    near = mr_nearest(text, states, sizeof states / sizeof states[0]);
    (void)snprintf(todo, sizeof todo,
        near ? "Did you mean \"%s\"?"
             : "One of waiting, retrying, succeeded, failed, cancelled, expired.",
        near);
    return mr_err_setf(err, MR_BAD_ARGUMENT, "There is no such state.", todo,
        "\"%.100s\" is unknown.", text);
}

static enum mr_status
read_filter(const struct mr_cli *cli, json_t *args, struct mr_err *err)
{
    const char *limit = mr_cli_option(cli, "limit");
    int64_t number = LIMIT_DEFAULT;
    enum mr_status status = check_state(cli, err);

    if (!status && limit)
        status = mr_cli_parse_int("The limit", limit, 1, LIMIT_MAX, &number, err);
    if (!status)
        status = add_time(cli, "since", "since_us", args, err);
    if (!status)
        status = add_time(cli, "until", "until_us", args, err);
    if (!status && (add_text(cli, "state", args) || add_text(cli, "kind", args) ||
                       add_text(cli, "queue", args) ||
                       json_object_set_new(args, "limit", json_integer(number)) != 0))
        status = mr_err_set(err, MR_NO_MEMORY, "The jobs were not listed.", NULL, NULL);
    return status;
}

int
mr_cmd_jobs(struct mr_cli *cli)
{
    json_t *args = json_object();
    struct mr_err err;
    json_t *rows;
    int exit_code;

    if (read_filter(cli, args, &err)) {
        json_decref(args);
        return mr_cli_fail(cli, &err);
    }
    rows = mr_cli_call(cli, "jobs", args, &exit_code);
    if (rows)
        mr_cli_print_rows(cli, rows, columns);
    return exit_code;
}
