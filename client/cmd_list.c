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
mr_cmd_list_usage(struct mr_cli *cli)
{
    static const char *const columns[] = {"principal", "connections", "waiting",
        "payload_bytes", "over_quota", "jobs_per_s", "waiting_max", "payload_bytes_max",
        "connections_max", NULL};

    return list(cli, "usage", columns);
}

int
mr_cmd_list_kinds(struct mr_cli *cli)
{
    static const char *const columns[] = {"name", "workers", "ready", "running", NULL};

    return list(cli, "kinds", columns);
}

/* For people: numbers first, then each list as a table of its own. */
static void
print_stats(struct mr_cli *cli, json_t *stats)
{
    static const struct {
        const char *key, *title, *columns[4];
    } lists[] = {
        {"phases", "the loop's time since the start", {"phase", "times", "us", NULL}},
        {"verbs", "messages", {"verb", "received", "sent", NULL}},
        {"commits", "commits by rows: so many or more, below the next line",
            {"rows_min", "commits", NULL}},
    };
    json_t *kept[sizeof lists / sizeof *lists];
    size_t count = sizeof lists / sizeof *lists;

    for (size_t i = 0; i < count; i++) {
        kept[i] = json_incref(json_object_get(stats, lists[i].key));
        (void)json_object_del(stats, lists[i].key);
    }
    mr_cli_print_object(cli, stats);
    for (size_t i = 0; i < count; i++) {
        if (!json_is_array(kept[i])) { /* an older broker */
            json_decref(kept[i]);
            continue;
        }
        fprintf(cli->out, "\n%s\n", lists[i].title);
        mr_cli_print_rows(cli, kept[i], lists[i].columns);
    }
}

int
mr_cmd_list_stats(struct mr_cli *cli)
{
    int exit_code;
    json_t *stats = mr_cli_call(cli, "stats", json_object(), &exit_code);

    if (stats && cli->is_json)
        mr_cli_print_json(cli, stats);
    else if (stats)
        print_stats(cli, stats);
    return exit_code;
}
