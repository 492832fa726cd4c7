#include "client/cli.h"

#include "client/dead_query.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 100000

static const char *const columns[] = {
    "id", "kind", "queue", "finished_at", "attempts", "reason", "error", NULL};
static const char *const redriven_columns[] = {"id", "kind", "queue", "finished_at",
    "attempts", "reason", "redriven_as", "error", NULL};

static void
append(void *context, json_t *row)
{
    (void)json_array_append(context, row);
}

static enum mr_status
read_options(const struct mr_cli *cli, json_t *args, int64_t *limit, struct mr_err *err)
{
    const char *text = mr_cli_option(cli, "limit");
    bool is_all;
    enum mr_status status = mr_dead_query_filter(cli, args, &is_all, err);

    *limit = LIMIT_DEFAULT;
    if (!status && text)
        status = mr_cli_parse_int("The limit", text, 1, LIMIT_MAX, limit, err);
    if (!status && mr_cli_option(cli, "redriven"))
        (void)json_object_set_new(args, "with_redriven", json_true());
    if (!status && cli->is_json)
        (void)json_object_set_new(args, "with_history", json_true());
    return status;
}

static int
list(struct mr_cli *cli, json_t *args, int64_t limit)
{
    json_t *rows = json_array();
    int exit_code = mr_dead_query_each(cli, args, limit, append, rows);

    if (exit_code == MR_CLI_OK)
        mr_cli_print_rows(cli, json_incref(rows),
            mr_cli_option(cli, "redriven") ? redriven_columns : columns);
    json_decref(rows);
    return exit_code;
}

int
mr_cmd_dead(struct mr_cli *cli)
{
    json_t *args = json_object();
    struct mr_err err;
    int64_t limit;
    int exit_code = MR_CLI_OK;

    if (read_options(cli, args, &limit, &err)) {
        exit_code = mr_cli_fail(cli, &err);
    } else if (cli->word_count) {
        json_t *job = mr_dead_query_one(cli, cli->words[0], &exit_code);

        if (job)
            mr_cli_print_job(cli, job);
    } else {
        exit_code = list(cli, args, limit);
    }
    json_decref(args);
    return exit_code;
}
