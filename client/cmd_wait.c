#include "client/cli.h"

static int
wait_for(struct mr_cli *cli, const char *word, int timeout_ms)
{
    struct millrace_result result = {.outcome = 0};
    struct millrace_error error = {.code = 0};
    struct millrace_id id;
    struct mr_err err;
    int exit_code;

    if (mr_cli_parse_id(word, &id, &err) || mr_cli_connect(cli, &err))
        return mr_cli_fail(cli, &err);
    if (millrace_wait(cli->mr, &id, timeout_ms, &result, &error))
        exit_code = mr_cli_fail_error(cli, &error);
    else
        exit_code = mr_cli_print_result(cli, &result);
    millrace_result_free(&result);
    return exit_code;
}

/* Of several jobs the first bad end decides about the exit code. */
int
mr_cmd_wait(struct mr_cli *cli)
{
    const char *limit = mr_cli_option(cli, "for");
    int64_t timeout_ms = MILLRACE_FOREVER;
    int exit_code = MR_CLI_OK;
    struct mr_err err;

    if (limit && mr_cli_parse_duration(limit, INT32_MAX, &timeout_ms, &err))
        return mr_cli_fail(cli, &err);
    if (timeout_ms == 0)
        timeout_ms = 1; /* 0 would mean the default */
    for (int i = 0; i < cli->word_count; i++) {
        int code = wait_for(cli, cli->words[i], (int)timeout_ms);

        if (exit_code == MR_CLI_OK)
            exit_code = code;
    }
    return exit_code;
}
