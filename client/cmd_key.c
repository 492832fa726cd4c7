#include "client/cli.h"

#include <limits.h>
#include <string.h>

#include "schemas/wire/curve.h"

/* A secret is never printed, whoever asks. */

static int
print_new(struct mr_cli *cli, const char *dir, const char *name, const char *key)
{
    char key_file[PATH_MAX], pub_file[PATH_MAX];

    (void)snprintf(key_file, sizeof key_file, "%s/%s.key", dir, name);
    (void)snprintf(pub_file, sizeof pub_file, "%s/%s.pub", dir, name);
    if (cli->is_json)
        mr_cli_print_json(cli, json_pack("{s:s,s:s,s:s,s:s}", "name", name, "key_file",
                                   key_file, "pub_file", pub_file, "public_key", key));
    else
        fprintf(cli->out,
            "key_file    %s (a secret: for its owner's eyes, never over a network in the "
            "clear)\n"
            "pub_file    %s (for those who have to know it)\n"
            "public_key  %s\n",
            key_file, pub_file, key);
    return MR_CLI_OK;
}

static int
make(struct mr_cli *cli, const char *name)
{
    const char *dir = mr_cli_option(cli, "dir");
    struct mr_curve *curve;
    struct mr_err err;
    enum mr_status status = mr_curve_new(&curve, &err);
    int code;

    dir = dir ? dir : ".";
    if (status == MR_OK)
        status = mr_curve_write(curve, dir, name, &err);
    code = status ? mr_cli_fail(cli, &err)
                  : print_new(cli, dir, name, mr_curve_public(curve));
    mr_curve_destroy(&curve);
    return code;
}

static int
show(struct mr_cli *cli, const char *path)
{
    char key[MR_CURVE_ROOM];
    struct mr_err err;

    if (mr_curve_read_public(path, key, &err))
        return mr_cli_fail(cli, &err);
    if (cli->is_json)
        mr_cli_print_json(cli, json_pack("{s:s}", "public_key", key));
    else
        fprintf(cli->out, "%s\n", key);
    return MR_CLI_OK;
}

int
mr_cmd_key(struct mr_cli *cli)
{
    struct mr_err err;

    if (strcmp(cli->words[0], "new") == 0)
        return make(cli, cli->words[1]);
    if (strcmp(cli->words[0], "show") == 0)
        return show(cli, cli->words[1]);
    (void)mr_err_setf(&err, MR_BAD_ARGUMENT, "There is no such part of key.",
        "Write \"millrace key new NAME\" or \"millrace key show FILE\".",
        "\"%.100s\" is unknown.", cli->words[0]);
    return mr_cli_fail(cli, &err);
}
