#include "client/cli.h"

#include <string.h>

static void
print_usage(const struct mr_cli_command *command, FILE *out)
{
    fprintf(out, "millrace %s%s%s%s", command->name, command->options ? " [OPTIONS]" : "",
        command->args[0] ? " " : "", command->args);
}

void
mr_cli_help_command(
    const struct mr_cli *cli, const struct mr_cli_command *command, FILE *out)
{
    fprintf(out, "Example: %s\n\n%s\n\nUsage: ", command->example, command->help);
    print_usage(command, out);
    fputc('\n', out);
    if (command->options)
        fputs("\nOptions:\n", out);
    for (const struct mr_cli_option *o = command->options; o && o->name; o++) {
        char left[64];

        (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
            o->value ? o->value : "");
        fprintf(out, "  %-22s %s\n", left, o->help);
    }
    fputs("\nSettings (also MILLRACE_*, or [client] in a file given with --config):\n",
        out);
    if (cli->conf)
        mr_conf_print_help(cli->conf, out);
    fputs("\nExit codes: 0 done, 1 the job failed, 2 it was cancelled or has expired,\n"
          "  64 wrong use, 65 bad data or a refused job, 66 no such job or file,\n"
          "  69 the broker cannot be reached, 70 a fault of millrace, 71 of the system,\n"
          "  73 output cannot be written, 75 try again later, 77 not allowed, 78 "
          "settings.\n",
        out);
}

void
mr_cli_help(const struct mr_cli *cli, FILE *out)
{
    (void)cli;
    fputs("Example: millrace submit test.sleep '{\"ms\":100}' --wait\n\n"
          "millrace: submit jobs, see what becomes of them, run the "
          "servers.\n\nCommands:\n",
        out);
    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++)
        fprintf(out, "  %-11s %s\n", c->name, c->help);
    fputs(
        "\n\"millrace help COMMAND\" explains one. Every command takes -o json.\n", out);
}

/* ---- Completion -------------------------------------------------------------------------- */

void
mr_cli_completion(const struct mr_cli *cli, FILE *out)
{
    (void)cli;
    fputs("_millrace() {\n    local word=${COMP_WORDS[COMP_CWORD]} verb= w\n"
          "    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
          "        [[ $w != -* ]] && { verb=$w; break; }\n    done\n"
          "    local all='--help --output --endpoint --timeout-ms --config' list\n"
          "    case $verb in\n    '') list='",
        out);
    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++)
        fprintf(out, "%s%s", c == mr_cli_commands ? "" : " ", c->name);
    fputs("' ;;\n", out);
    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++) {
        if (!c->options && strcmp(c->name, "config") != 0 &&
            strcmp(c->name, "completion") != 0)
            continue;
        fprintf(out, "    %s) list='", c->name);
        if (strcmp(c->name, "config") == 0)
            fputs("show sample ", out);
        if (strcmp(c->name, "completion") == 0)
            fputs("bash", out);
        if (strcmp(c->name, "seal") == 0)
            fputs("new add rotate drop show ", out);
        for (const struct mr_cli_option *o = c->options; o && o->name; o++)
            fprintf(out, "%s--%s", o == c->options ? "" : " ", o->name);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n    [[ $verb ]] && list+=\" $all\"\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$word\")\n"
          "    [[ $verb == batch || $word == @* ]] &&\n"
          "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- "
          "\"$word\")\n"
          "    return 0\n}\ncomplete -F _millrace millrace\n",
        out);
}
