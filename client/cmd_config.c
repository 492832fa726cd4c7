#include "client/cli.h"

#include <stdlib.h>
#include <string.h>

/* {"name": {"value": ..., "origin": ...}}, from the lines that are shown to people. */
static void
show_as_json(struct mr_cli *cli)
{
    json_t *all = json_object();
    char *text = NULL;
    char *rest;
    char *line;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);

    if (!memory || !all)
        return;
    mr_conf_show(cli->conf, memory, true);
    fclose(memory);
    rest = text;
    while ((line = strsep(&rest, "\n"))) {
        char *value = strstr(line, " = ");
        char *origin = value ? strstr(value, "  # ") : NULL;

        if (!origin)
            continue;
        *value = *origin = '\0';
        (void)json_object_set_new(all, line,
            json_pack("{s:s,s:s}", "value", origin == value + 2 ? "" : value + 3,
                "origin", origin + 4));
    }
    free(text);
    mr_cli_print_json(cli, all);
}

int
mr_cmd_config(struct mr_cli *cli)
{
    struct mr_err err;

    if (strcmp(cli->words[0], "sample") == 0) {
        mr_conf_print_sample(cli->conf, cli->out);
        return MR_CLI_OK;
    }
    if (strcmp(cli->words[0], "show") != 0) {
        (void)mr_err_setf(&err, MR_BAD_ARGUMENT, "There is no such part of config.",
            "Write \"millrace config show\" or \"millrace config sample\".",
            "\"%.100s\" is unknown.", cli->words[0]);
        (void)mr_cli_fail(cli, &err);
        return MR_CLI_USAGE;
    }
    if (cli->is_json)
        show_as_json(cli);
    else
        mr_conf_show(cli->conf, cli->out, mr_cli_option(cli, "origin") != NULL);
    return MR_CLI_OK;
}
