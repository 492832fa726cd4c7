#include "client/cli.h"

#include <string.h>

#include "client/json.h"
#include "schemas/sql/principal.h"
#include "schemas/wire/curve.h"

#define OUT_BYTES_MAX (16u * 1024 * 1024)
#define METHOD_BYTES 40

/* What is said: "principal WORD NAME ...". */
static const struct part {
    const char *word;
    int words_min, words_max; /* WORD itself included */
    enum mr_principal_verb verb;
    bool is_list;
} parts[] = {
    {"list", 1, 1, 0, true},
    {"show", 2, 2, 0, true},
    {"add", 2, 2, MR_PRINCIPAL_ADD, false},
    {"grant", 3, 3, MR_PRINCIPAL_GRANT, false},
    {"deny", 3, 3, MR_PRINCIPAL_DENY, false},
    {"ungrant", 3, 3, MR_PRINCIPAL_UNGRANT, false},
    {"revoke", 2, 2, MR_PRINCIPAL_REVOKE, false},
    {"restore", 2, 2, MR_PRINCIPAL_RESTORE, false},
    {"rotate", 2, 2, MR_PRINCIPAL_ROTATE, false},
    {"limit", 2, 2, MR_PRINCIPAL_LIMIT, false},
};

/* ---- what is asked -------------------------------------------------------------------------------- */

struct request {
    const struct part *part;
    struct mr_principal_change change;
    char key[MR_CURVE_ROOM];
};

static enum mr_status
find_part(const struct mr_cli *cli, const struct part **out, struct mr_err *err)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *out = &parts[i];
        if (strcmp(cli->words[0], parts[i].word) != 0)
            continue;
        if (cli->word_count >= parts[i].words_min &&
            cli->word_count <= parts[i].words_max)
            return MR_OK;
        return mr_err_setf(err, MR_BAD_ARGUMENT, "Something is missing, or too much.",
            "See: millrace help principal", "\"principal %s\" takes %s.", parts[i].word,
            parts[i].words_min == 1   ? "nothing more"
            : parts[i].words_min == 2 ? "the NAME of one principal"
                                      : "a NAME and a right: a role or an action");
    }
    return mr_err_setf(err, MR_BAD_ARGUMENT, "There is no such part of principal.",
        "Parts: list, show, add, grant, deny, ungrant, revoke, restore, rotate, limit.",
        "\"%.100s\" is unknown.", cli->words[0]);
}

/* The option of a field has its name, with hyphens. */
static const char *
option_of(const struct mr_cli *cli, enum mr_principal_field field)
{
    char name[MR_PRINCIPAL_FIELD_BYTES];
    size_t n = strlen(mr_principal_field_name(field));

    memcpy(name, mr_principal_field_name(field), n + 1);
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    return mr_cli_option(cli, name);
}

static enum mr_status
read_request(const struct mr_cli *cli, struct request *request, struct mr_err *err)
{
    const char **fields = request->change.fields;
    enum mr_status status = find_part(cli, &request->part, err);
    int64_t number;

    if (status)
        return status;
    request->change.verb = request->part->verb;
    if (request->change.verb == MR_PRINCIPAL_ROTATE && mr_cli_option(cli, "retire"))
        request->change.verb = MR_PRINCIPAL_RETIRE;
    for (int i = MR_PRINCIPAL_QUEUE; i < MR_PRINCIPAL_FIELDS; i++)
        fields[i] = option_of(cli, (enum mr_principal_field)i);
    for (int i = MR_PRINCIPAL_JOBS_PER_S; i < MR_PRINCIPAL_FIELDS && !status; i++) {
        if (fields[i])
            status = mr_cli_parse_int(mr_principal_field_name((enum mr_principal_field)i),
                fields[i], 0, INT32_MAX, &number, err);
    }
    fields[MR_PRINCIPAL_NAME] = cli->word_count > 1 ? cli->words[1] : NULL;
    fields[MR_PRINCIPAL_RIGHT] = cli->word_count > 2 ? cli->words[2] : NULL;
    fields[MR_PRINCIPAL_ROLE] = mr_cli_option(cli, "role");
    if (status == MR_OK && mr_cli_option(cli, "key")) {
        status = mr_curve_read_public(mr_cli_option(cli, "key"), request->key, err);
        fields[MR_PRINCIPAL_KEY] = request->key;
    }
    return status;
}

/* ---- asking ----------------------------------------------------------------------------------------- */

static enum mr_status
ask_database(const struct mr_cli *cli, const struct request *request, json_t **out,
    struct mr_err *err)
{
    char text[MR_PRINCIPAL_TEXT_BYTES];
    struct mr_pg *pg = NULL;
    struct mr_wr wr;
    enum mr_status status;

    mr_wr_init(&wr, OUT_BYTES_MAX);
    if (!cli->settings.database[0])
        status = mr_err_set(err, MR_BAD_SETTING, "Nothing was changed.",
            "No database is set.",
            "Say --database 'host=... dbname=... user=...', or set MILLRACE_DATABASE.");
    else
        status = mr_pg_open(&pg, cli->settings.database, "millrace principal", err);
    if (status == MR_OK && request->part->is_list && cli->word_count > 1)
        status = mr_principal_show(pg, cli->words[1], &wr, err);
    else if (status == MR_OK && request->part->is_list)
        status = mr_principal_list(pg, &wr, err);
    else if (status == MR_OK)
        status = mr_principal_change(pg, &request->change, text, err);
    if (status == MR_OK)
        *out = request->part->is_list ? mr_json_unpack(mr_wr_span(&wr))
                                      : json_pack("{s:s}", "text", text);
    mr_wr_fini(&wr);
    mr_pg_close(&pg);
    return status;
}

static json_t *
ask_broker(struct mr_cli *cli, const struct request *request, int *exit_code)
{
    char method[METHOD_BYTES];
    json_t *args = json_object();

    for (int i = 0; i < MR_PRINCIPAL_FIELDS; i++) {
        if (request->change.fields[i])
            (void)json_object_set_new(args,
                mr_principal_field_name((enum mr_principal_field)i),
                json_string(request->change.fields[i]));
    }
    (void)snprintf(method, sizeof method, "principal_%s",
        mr_principal_verb_name(request->change.verb));
    return mr_cli_call(
        cli, request->part->is_list ? "principals" : method, args, exit_code);
}

/* ---- answering -------------------------------------------------------------------------------------- */

static void
print_part(struct mr_cli *cli, json_t *rows, const char *const *columns)
{
    if (json_array_size(rows) == 0) {
        json_decref(rows);
        return;
    }
    fputc('\n', cli->out);
    mr_cli_print_rows(cli, rows, columns);
}

static int
print_one(struct mr_cli *cli, json_t *reply)
{
    static const char *const keys[] = {"key", "added_at", "revoked_at", NULL};
    static const char *const grants[] = {
        "right", "is_denied", "queue", "kind", "scope", NULL};
    json_t *key_rows, *grant_rows;
    struct mr_err err;

    if (!json_is_object(reply)) {
        json_decref(reply);
        (void)mr_err_setf(&err, MR_NOT_FOUND, "There is no such principal.",
            "millrace principal list", "Nobody is called \"%.64s\".", cli->words[1]);
        return mr_cli_fail(cli, &err);
    }
    if (cli->is_json) {
        mr_cli_print_json(cli, reply);
        return MR_CLI_OK;
    }
    key_rows = json_incref(json_object_get(reply, "key_rows"));
    grant_rows = json_incref(json_object_get(reply, "grant_rows"));
    (void)json_object_del(reply, "key_rows");
    (void)json_object_del(reply, "grant_rows");
    mr_cli_print_object(cli, reply);
    print_part(cli, key_rows, keys);
    print_part(cli, grant_rows, grants);
    return MR_CLI_OK;
}

static int
print_reply(struct mr_cli *cli, const struct request *request, json_t *reply)
{
    static const char *const columns[] = {"name", "is_revoked", "keys", "rights", NULL};

    if (request->part->is_list && cli->word_count > 1)
        return print_one(cli, reply);
    if (request->part->is_list) {
        mr_cli_print_rows(cli, reply, columns);
        return MR_CLI_OK;
    }
    if (cli->is_json) {
        mr_cli_print_json(cli, reply);
        return MR_CLI_OK;
    }
    fprintf(cli->out, "%s\n", json_string_value(json_object_get(reply, "text")));
    json_decref(reply);
    return MR_CLI_OK;
}

int
mr_cmd_principal(struct mr_cli *cli)
{
    struct request request = {0};
    struct mr_err err = {.status = MR_OK};
    json_t *reply = NULL;
    int exit_code = MR_CLI_OK;

    if (read_request(cli, &request, &err)) {
        exit_code = mr_cli_fail(cli, &err);
        return err.status == MR_BAD_ARGUMENT ? MR_CLI_USAGE : exit_code;
    }
    if (!mr_cli_option(cli, "direct"))
        reply = ask_broker(cli, &request, &exit_code);
    else if (ask_database(cli, &request, &reply, &err))
        exit_code = mr_cli_fail(cli, &err);
    return reply ? print_reply(cli, &request, reply) : exit_code;
}
