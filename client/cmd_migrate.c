#include "client/cli.h"

#include "schemas/sql/migrate.h"
#include "schemas/sql/pg.h"

static enum mr_status
migrate(struct mr_pg *pg, struct mr_cli *cli, const char *set, struct mr_err *err)
{
    int applied = 0;
    enum mr_status status = mr_migrate(pg, set, &applied, err);

    if (status)
        return status;
    if (cli->is_json)
        mr_cli_print_json(cli, json_pack("{s:s,s:i}", "set", set, "applied", applied));
    else if (applied == 0)
        fprintf(cli->out, "%s: up to date\n", set);
    else
        fprintf(cli->out, "%s: %d applied\n", set, applied);
    return MR_OK;
}

int
mr_cmd_migrate(struct mr_cli *cli)
{
    const char *pack = mr_cli_option(cli, "pack");
    struct mr_pg *pg = NULL;
    struct mr_err err = {.status = MR_OK};
    enum mr_status status;

    if (!cli->settings.database[0])
        status = mr_err_set(&err, MR_BAD_SETTING, "The database was not migrated.",
            "No database is set.",
            "Say --database 'host=... dbname=... user=...', or set MILLRACE_DATABASE.");
    else
        status = mr_pg_open(&pg, cli->settings.database, "millrace migrate", &err);
    if (!status)
        status = migrate(pg, cli, "millrace", &err);
    if (!status && pack)
        status = migrate(pg, cli, pack, &err);
    mr_pg_close(&pg);
    return status ? mr_cli_fail(cli, &err) : MR_CLI_OK;
}
