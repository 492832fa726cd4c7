#include "client/cli.h"

/* The reply is {text}, or nothing but the good news that it was done. */
static int
finish(
    struct mr_cli *cli, json_t *reply, int exit_code, const char *word, const char *name)
{
    const char *text = json_string_value(json_object_get(reply, "text"));

    if (!reply)
        return exit_code;
    if (cli->is_json)
        mr_cli_print_json(
            cli, json_pack("{s:s,s:s,s:s?}", "name", name, "state", word, "text", text));
    else
        fprintf(cli->out, "%s %s%s%s\n", name, word, text ? ": " : "", text ? text : "");
    json_decref(reply);
    return exit_code;
}

static int
on_queue(struct mr_cli *cli, const char *method, const char *word)
{
    int exit_code;
    json_t *reply =
        mr_cli_call(cli, method, json_pack("{s:s}", "queue", cli->words[0]), &exit_code);

    return finish(cli, reply, exit_code, word, cli->words[0]);
}

int
mr_cmd_operate_pause(struct mr_cli *cli)
{
    return on_queue(cli, "pause", "paused");
}

int
mr_cmd_operate_resume(struct mr_cli *cli)
{
    return on_queue(cli, "resume", "resumed");
}

int
mr_cmd_operate_cancel(struct mr_cli *cli)
{
    struct millrace_id id;
    struct mr_err err;
    json_t *reply;
    int exit_code;

    if (mr_cli_parse_id(cli->words[0], &id, &err))
        return mr_cli_fail(cli, &err);
    reply = mr_cli_call(cli, "cancel", mr_cli_id_args(&id), &exit_code);
    return finish(cli, reply, exit_code, "cancelled", cli->words[0]);
}

int
mr_cmd_operate_explain(struct mr_cli *cli)
{
    struct millrace_id id;
    struct mr_err err;
    const char *text;
    json_t *reply;
    int exit_code;

    if (mr_cli_parse_id(cli->words[0], &id, &err))
        return mr_cli_fail(cli, &err);
    reply = mr_cli_call(cli, "explain", mr_cli_id_args(&id), &exit_code);
    text = json_string_value(json_object_get(reply, "text"));
    if (!reply || cli->is_json || !text)
        return finish(cli, reply, exit_code, "explained", cli->words[0]);
    fprintf(cli->out, "%s\n", text);
    json_decref(reply);
    return exit_code;
}

int
mr_cmd_operate_drain(struct mr_cli *cli)
{
    const char *worker = mr_cli_option(cli, "worker");
    int exit_code;
    json_t *reply =
        mr_cli_call(cli, "drain", json_pack("{s:s?}", "worker", worker), &exit_code);

    return finish(cli, reply, exit_code, "draining", worker ? worker : "broker");
}
