#include "client/cli.h"

#include <string.h>

static const char *const attempt_columns[] = {"attempt", "outcome", "started_at",
    "finished_at", "retry_at", "worker", "error", NULL};

static void
print_parts(struct mr_cli *cli, json_t *job)
{
    json_t *attempts = json_incref(json_object_get(job, "attempt_rows"));
    json_t *live = json_incref(json_object_get(job, "live"));

    (void)json_object_del(job, "attempt_rows");
    (void)json_object_del(job, "live");
    mr_cli_print_object(cli, job);
    if (json_is_object(live)) {
        fputs("\nnow\n", cli->out);
        mr_cli_print_object(cli, json_incref(live));
    }
    if (json_array_size(attempts) > 0) {
        fputs("\nattempts that did not succeed\n", cli->out);
        mr_cli_print_rows(cli, json_incref(attempts), attempt_columns);
    }
    json_decref(attempts);
    json_decref(live);
}

int
mr_cmd_show(struct mr_cli *cli)
{
    struct millrace_id id;
    struct mr_err err;
    json_t *job;
    int exit_code;

    if (mr_cli_parse_id(cli->words[0], &id, &err))
        return mr_cli_fail(cli, &err);
    job = mr_cli_call(cli, "show", mr_cli_id_args(&id), &exit_code);
    if (!job)
        return exit_code;
    if (!json_is_object(job)) {
        json_decref(job);
        (void)mr_err_setf(&err, MR_NO_JOB, "There is no such job.",
            "\"millrace jobs\" lists those there are.", "%s", cli->words[0]);
        return mr_cli_fail(cli, &err);
    }
    if (cli->is_json)
        mr_cli_print_json(cli, job);
    else
        print_parts(cli, job);
    return MR_CLI_OK;
}
