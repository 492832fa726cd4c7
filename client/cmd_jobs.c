#include "client/cli.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 1000

static const char *const columns[] = {"id", "kind", "queue", "state", "priority",
    "attempts", "submitted_at", "run_at", "finished_at", "error", NULL};

static const char *const states[] = {
    "waiting", "retrying", "succeeded", "failed", "cancelled", "expired"};

static enum mr_status
read_filter(const struct mr_cli *cli, json_t *args, struct mr_err *err)
{
    const char *limit = mr_cli_option(cli, "limit");
    int64_t number = LIMIT_DEFAULT;
    enum mr_status status = mr_cli_filter_word(
        cli, "state", states, sizeof states / sizeof states[0], args, err);

    if (!status && limit)
        status = mr_cli_parse_int("The limit", limit, 1, LIMIT_MAX, &number, err);
    if (!status)
        status = mr_cli_filter_time(cli, "since", "since_us", args, err);
    if (!status)
        status = mr_cli_filter_time(cli, "until", "until_us", args, err);
    if (!status)
        status = mr_cli_filter_text(cli, "kind", args, err);
    if (!status)
        status = mr_cli_filter_text(cli, "queue", args, err);
    if (!status && json_object_set_new(args, "limit", json_integer(number)) != 0)
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
