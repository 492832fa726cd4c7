#include "client/cli.h"

static int
list(struct mr_cli *cli, const char *method, const char *const *columns)
{
    int exit_code;
    json_t *rows = mr_cli_call(cli, method, json_object(), &exit_code);

    if (rows)
        mr_cli_print_rows(cli, rows, columns);
    return exit_code;
}

int
mr_cmd_list_queues(struct mr_cli *cli)
{
    static const char *const columns[] = {
        "name", "is_paused", "waiting", "ready", "running", "finished", NULL};

    return list(cli, "queues", columns);
}

int
mr_cmd_list_workers(struct mr_cli *cli)
{
    static const char *const columns[] = {
        "name", "threads", "running", "credit", "kinds", "silent_ms", "instance", NULL};

    return list(cli, "workers", columns);
}

int
mr_cmd_list_kinds(struct mr_cli *cli)
{
    static const char *const columns[] = {"name", "workers", "ready", "running", NULL};

    return list(cli, "kinds", columns);
}

int
mr_cmd_list_stats(struct mr_cli *cli)
{
    int exit_code;
    json_t *stats = mr_cli_call(cli, "stats", json_object(), &exit_code);

    if (stats)
        mr_cli_print_object(cli, stats);
    return exit_code;
}
