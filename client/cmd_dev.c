#include "client/cli.h"
#include "client/dev.h"

#define DIR_DEFAULT ".millrace"
#define WORKERS_MAX 64
#define THREADS_MAX 1024

static enum mr_status
read_options(const struct mr_cli *cli, struct mr_dev_options *out, struct mr_err *err)
{
    const char *workers = mr_cli_option(cli, "workers");
    const char *threads = mr_cli_option(cli, "threads");
    const char *data = mr_cli_option(cli, "data");
    enum mr_status status = MR_OK;

    *out = (struct mr_dev_options){.dir = data ? data : DIR_DEFAULT,
        .is_dir_given = data != NULL,
        .workers = 1,
        .load = mr_cli_option(cli, "load"),
        .front = mr_cli_option(cli, "front"),
        .back = mr_cli_option(cli, "back"),
        .pack = mr_cli_option(cli, "pack"),
        .only_database = mr_cli_option(cli, "only-database") != NULL};
    if (workers)
        status = mr_cli_parse_int(
            "The number of workers", workers, 0, WORKERS_MAX, &out->workers, err);
    if (!status && threads)
        status = mr_cli_parse_int(
            "The number of threads", threads, 1, THREADS_MAX, &out->threads, err);
    if (mr_cli_option(cli, "no-worker"))
        out->workers = 0;
    return status;
}

int
mr_cmd_dev(struct mr_cli *cli)
{
    struct mr_dev_options options;
    struct mr_err err = {.status = MR_OK};

    if (read_options(cli, &options, &err) ||
        mr_dev_run(&options, cli->out, cli->err, cli->is_json, &err))
        return mr_cli_fail(cli, &err);
    return MR_CLI_OK;
}
