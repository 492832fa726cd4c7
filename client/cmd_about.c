#include "client/cli.h"

#include <string.h>

int
mr_cmd_about_version(struct mr_cli *cli)
{
    if (cli->is_json)
        mr_cli_print_json(cli, json_pack("{s:s}", "version", millrace_version()));
    else
        fprintf(cli->out, "millrace %s\n", millrace_version());
    return MR_CLI_OK;
}

static json_t *
command_json(const struct mr_cli_command *command)
{
    json_t *options = json_array();

    for (const struct mr_cli_option *o = command->options; o && o->name; o++)
        (void)json_array_append_new(options, json_pack("{s:s,s:s?,s:s}", "name", o->name,
                                                 "value", o->value, "help", o->help));
    return json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", command->name, "args",
        command->args, "help", command->help, "example", command->example, "options",
        options);
}

static void
help_as_json(struct mr_cli *cli, const struct mr_cli_command *only)
{
    json_t *all = json_array();

    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++)
        if (!only || c == only)
            (void)json_array_append_new(all, command_json(c));
    mr_cli_print_json(cli, all);
}

int
mr_cmd_about_help(struct mr_cli *cli)
{
    const struct mr_cli_command *command = mr_cli_commands;
    const char *names[64];
    const char *near;
    char todo[80];
    struct mr_err err;
    size_t n = 0;

    while (
        cli->word_count && command->name && strcmp(command->name, cli->words[0]) != 0) {
        names[n++] = command->name;
        command++;
    }
    if (cli->word_count && !command->name) {
        near = mr_nearest(cli->words[0], names, n);
        (void)snprintf(todo, sizeof todo,
            near ? "Did you mean \"%s\"?" : "\"millrace help\" lists them.", near);
        (void)mr_err_setf(&err, MR_BAD_ARGUMENT, "There is no such command.", todo,
            "\"%.100s\" is unknown.", cli->words[0]);
        (void)mr_cli_fail(cli, &err);
        return MR_CLI_USAGE;
    }
    if (cli->is_json)
        help_as_json(cli, cli->word_count ? command : NULL);
    else if (cli->word_count)
        mr_cli_help_command(cli, command, cli->out);
    else
        mr_cli_help(cli, cli->out);
    return MR_CLI_OK;
}

int
mr_cmd_about_completion(struct mr_cli *cli)
{
    struct mr_err err;

    if (strcmp(cli->words[0], "bash") != 0) {
        (void)mr_err_setf(&err, MR_BAD_ARGUMENT, "There is no completion for that shell.",
            "There is one for bash.", "\"%.100s\" is unknown.", cli->words[0]);
        (void)mr_cli_fail(cli, &err);
        return MR_CLI_USAGE;
    }
    mr_cli_completion(cli, cli->out);
    return MR_CLI_OK;
}
