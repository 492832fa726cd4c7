#include "client/cli.h"

#include <inttypes.h>
#include <string.h>

#include "client/audit_chain.h"
#include "schemas/base/clock.h"

#define PORTION 1000u
#define LIMIT_DEFAULT 50
#define LIMIT_MAX 100000

static enum mr_status
connect_database(struct mr_cli *cli, struct mr_pg **pg, struct mr_err *err)
{
    if (!cli->settings.database[0])
        return mr_err_set(err, MR_BAD_SETTING, "The audit log was not read.",
            "No database is set.",
            "Say --database 'host=... dbname=... user=...', or set MILLRACE_DATABASE.");
    return mr_pg_open(pg, cli->settings.database, "millrace audit", err);
}

/* ---- verify -------------------------------------------------------------------------------------- */

struct reading {
    struct mr_audit_chain chain;
    enum mr_status status; /* of the row that was not as it should be */
    struct mr_err *err;
};

static bool
take_row(void *context, const char *const columns[MR_AUDIT_COLUMNS])
{
    struct reading *reading = context;

    reading->status = mr_audit_chain_add(&reading->chain, columns, reading->err);
    return reading->status == MR_OK;
}

/* To the end, which may move on meanwhile. */
static enum mr_status
read_chain(struct mr_pg *pg, struct reading *reading)
{
    struct mr_audit_end end;
    enum mr_status status = MR_BUSY;
    int64_t after = INT64_MIN;
    uint32_t count;

    while (status == MR_BUSY) {
        do {
            status = mr_audit_read(
                pg, after, PORTION, take_row, reading, &count, reading->err);
            if (status == MR_OK)
                status = reading->status;
            after = reading->chain.last_seq;
        } while (status == MR_OK && count == PORTION);
        if (status == MR_OK)
            status = mr_audit_read_end(pg, &end, reading->err);
        if (status == MR_OK)
            status = mr_audit_chain_end(&reading->chain, &end, reading->err);
    }
    return status;
}

static enum mr_status
check_head(const char *head, struct mr_err *err)
{
    if (!head || (strlen(head) == MR_AUDIT_HASH_HEX - 1 &&
                     strspn(head, "0123456789abcdef") == MR_AUDIT_HASH_HEX - 1))
        return MR_OK;
    return mr_err_set(err, MR_BAD_ARGUMENT, "That is not a head of an audit log.",
        "A head has 64 digits, 0 to 9 and a to f.",
        "Take it as `millrace audit verify` printed it.");
}

static int
verify(struct mr_cli *cli)
{
    const char *head = mr_cli_option(cli, "head");
    struct mr_err err = {.status = MR_OK};
    struct reading reading = {.err = &err};
    struct mr_pg *pg = NULL;
    enum mr_status status = check_head(head, &err);

    mr_audit_chain_init(&reading.chain, head);
    if (status == MR_OK)
        status = connect_database(cli, &pg, &err);
    if (status == MR_OK)
        status = read_chain(pg, &reading);
    mr_pg_close(&pg);
    if (status)
        return mr_cli_fail(cli, &err);
    if (cli->is_json)
        mr_cli_print_json(
            cli, json_pack("{s:b,s:I,s:s}", "ok", 1, "entries",
                     (json_int_t)reading.chain.rows, "head", reading.chain.hash));
    else
        fprintf(cli->out, "OK: %" PRId64 " entries, head %s\n", reading.chain.rows,
            reading.chain.hash);
    return MR_CLI_OK;
}

/* ---- list ---------------------------------------------------------------------------------------- */

static const char *const names[MR_AUDIT_COLUMNS] = {"seq", "at", "principal", "key",
    "action", "object", "decision", "count", "detail", "source", "shard", "epoch",
    "previous", "hash"};
static const char *const shown[] = {"seq", "at", "decision", "action", "principal",
    "object", "count", "source", "detail", NULL};

static bool
is_number(int column)
{
    return column == MR_AUDIT_SEQ || column == MR_AUDIT_AT || column == MR_AUDIT_COUNT ||
           column == MR_AUDIT_SHARD || column == MR_AUDIT_EPOCH;
}

static bool
append_row(void *context, const char *const columns[MR_AUDIT_COLUMNS])
{
    json_t *row = json_object();

    for (int i = 0; i < MR_AUDIT_COLUMNS; i++) {
        json_t *value = !columns[i]    ? json_null()
                        : is_number(i) ? json_integer(strtoll(columns[i], NULL, 10))
                                       : json_string(columns[i]);

        (void)json_object_set_new(row, names[i], value);
    }
    return json_array_append_new(context, row) == 0;
}

static enum mr_status
read_filter(const struct mr_cli *cli, struct mr_audit_filter *filter, struct mr_err *err)
{
    const char *since = mr_cli_option(cli, "since");
    const char *limit = mr_cli_option(cli, "limit");
    enum mr_status status = MR_OK;
    int64_t n = LIMIT_DEFAULT;

    filter->principal = mr_cli_option(cli, "principal");
    filter->is_refused = mr_cli_option(cli, "refused") != NULL;
    if (since)
        status = mr_cli_parse_time(since, mr_clock_now().wall_us, &filter->since_us, err);
    if (!status && limit)
        status = mr_cli_parse_int("The limit", limit, 1, LIMIT_MAX, &n, err);
    filter->limit = (uint32_t)n;
    return status;
}

static int
list(struct mr_cli *cli)
{
    struct mr_audit_filter filter = {.limit = 0};
    struct mr_err err = {.status = MR_OK};
    struct mr_pg *pg = NULL;
    json_t *rows = json_array();
    enum mr_status status = read_filter(cli, &filter, &err);

    if (status == MR_OK)
        status = connect_database(cli, &pg, &err);
    if (status == MR_OK)
        status = mr_audit_list(pg, &filter, append_row, rows, &err);
    mr_pg_close(&pg);
    if (status == MR_OK)
        mr_cli_print_rows(cli, json_incref(rows), shown);
    json_decref(rows);
    return status ? mr_cli_fail(cli, &err) : MR_CLI_OK;
}

int
mr_cmd_audit(struct mr_cli *cli)
{
    struct mr_err err;

    if (strcmp(cli->words[0], "verify") == 0)
        return verify(cli);
    if (strcmp(cli->words[0], "list") == 0)
        return list(cli);
    (void)mr_err_setf(&err, MR_BAD_ARGUMENT, "There is no such part of audit.",
        "Write \"millrace audit verify\" or \"millrace audit list\".",
        "\"%.100s\" is unknown.", cli->words[0]);
    (void)mr_cli_fail(cli, &err);
    return MR_CLI_USAGE;
}
