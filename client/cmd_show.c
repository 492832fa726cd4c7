#include "client/cli.h"

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
    mr_cli_print_job(cli, job);
    return MR_CLI_OK;
}
