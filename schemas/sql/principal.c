#include "schemas/sql/principal.h"

#include <stdio.h>
#include <string.h>

#define ARGS_MAX 6

static const char *const field_names[MR_PRINCIPAL_FIELDS] = {
    [MR_PRINCIPAL_NAME] = "name",
    [MR_PRINCIPAL_KEY] = "key",
    [MR_PRINCIPAL_ROLE] = "role",
    [MR_PRINCIPAL_RIGHT] = "right",
    [MR_PRINCIPAL_QUEUE] = "queue",
    [MR_PRINCIPAL_KIND] = "kind",
    [MR_PRINCIPAL_SCOPE] = "scope",
    [MR_PRINCIPAL_JOBS_PER_S] = "jobs_per_s",
    [MR_PRINCIPAL_WAITING_MAX] = "waiting_max",
    [MR_PRINCIPAL_PAYLOAD_BYTES_MAX] = "payload_bytes_max",
    [MR_PRINCIPAL_CONNECTIONS_MAX] = "connections_max",
};

/* The audit log is told who has asked; the first parameter says it. */
#define CALL(function)                                                                   \
    "with who as materialized (select set_config('millrace.principal', "                 \
    "coalesce($1, ''), true)) select millrace." function " from who"

/* Parameters behind the first, in order; `must` is how many of them have to be given. */
static const struct {
    const char *name, *sql;
    int must, count;
    enum mr_principal_field fields[ARGS_MAX];
} verbs[MR_PRINCIPAL_VERBS] = {
    [MR_PRINCIPAL_ADD] = {"add", CALL("principal_add($2, $3, $4, $5, $6)"), 1, 5,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_KEY, MR_PRINCIPAL_ROLE, MR_PRINCIPAL_QUEUE,
            MR_PRINCIPAL_KIND}},
    [MR_PRINCIPAL_GRANT] = {"grant",
        CALL("principal_grant_put($2, $3, false, $4, $5, $6)"), 2, 5,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_RIGHT, MR_PRINCIPAL_QUEUE, MR_PRINCIPAL_KIND,
            MR_PRINCIPAL_SCOPE}},
    [MR_PRINCIPAL_DENY] = {"deny",
        CALL("principal_grant_put($2, $3, true, $4, $5, null)"), 2, 4,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_RIGHT, MR_PRINCIPAL_QUEUE, MR_PRINCIPAL_KIND}},
    [MR_PRINCIPAL_UNGRANT] = {"ungrant", CALL("principal_grant_drop($2, $3, $4, $5)"), 2,
        4,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_RIGHT, MR_PRINCIPAL_QUEUE, MR_PRINCIPAL_KIND}},
    [MR_PRINCIPAL_REVOKE] = {"revoke", CALL("principal_revoke($2, true)"), 1, 1,
        {MR_PRINCIPAL_NAME}},
    [MR_PRINCIPAL_RESTORE] = {"restore", CALL("principal_revoke($2, false)"), 1, 1,
        {MR_PRINCIPAL_NAME}},
    [MR_PRINCIPAL_ROTATE] = {"rotate", CALL("principal_rotate($2, $3, false)"), 2, 2,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_KEY}},
    [MR_PRINCIPAL_RETIRE] = {"retire", CALL("principal_rotate($2, $3, true)"), 1, 2,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_KEY}},
    [MR_PRINCIPAL_LIMIT] = {"limit",
        CALL("principal_limit($2, $3::integer, $4::integer, $5::bigint, $6::integer)"), 1,
        5,
        {MR_PRINCIPAL_NAME, MR_PRINCIPAL_JOBS_PER_S, MR_PRINCIPAL_WAITING_MAX,
            MR_PRINCIPAL_PAYLOAD_BYTES_MAX, MR_PRINCIPAL_CONNECTIONS_MAX}},
};

const char *
mr_principal_verb_name(enum mr_principal_verb verb)
{
    return verbs[verb].name;
}

const char *
mr_principal_field_name(enum mr_principal_field field)
{
    return field_names[field];
}

enum mr_status
mr_principal_change(struct mr_pg *pg, const struct mr_principal_change *change,
    char text[MR_PRINCIPAL_TEXT_BYTES], struct mr_err *err)
{
    struct pg_result *result = NULL;
    const char *params[ARGS_MAX + 1] = {change->by};
    enum mr_status status;

    for (int i = 0; i < verbs[change->verb].count; i++) {
        enum mr_principal_field field = verbs[change->verb].fields[i];

        params[i + 1] = change->fields[field];
        if (i < verbs[change->verb].must && !change->fields[field])
            return mr_err_setf(err, MR_BAD_ARGUMENT, "Nothing was changed.",
                "See: millrace help principal", "`%s` is missing.", field_names[field]);
    }
    status = mr_pg_run(
        pg, verbs[change->verb].sql, verbs[change->verb].count + 1, params, &result, err);
    if (status != MR_OK)
        return status;
    (void)snprintf(text, MR_PRINCIPAL_TEXT_BYTES, "%s", mr_pg_text(result, 0, 0));
    mr_pg_free_result(&result);
    return MR_OK;
}

/* ---- looking --------------------------------------------------------------------------------------- */

enum form { WORD, NUMBER, FLAG };

struct field {
    const char *name;
    enum form form;
};

static void
put_row(struct mr_wr *out, const struct pg_result *result, int row,
    const struct field *fields, int count)
{
    for (int i = 0; i < count; i++) {
        const char *text = mr_pg_text(result, row, i);

        mr_wr_cstr(out, fields[i].name);
        if (!text)
            mr_wr_nil(out);
        else if (fields[i].form == NUMBER)
            mr_wr_int(out, mr_pg_int(result, row, i));
        else if (fields[i].form == FLAG)
            mr_wr_bool(out, strcmp(text, "t") == 0);
        else
            mr_wr_cstr(out, text);
    }
}

#define LISTED                                                                           \
    "name, is_revoked, keys, rights, jobs_per_s, waiting_max, payload_bytes_max, "       \
    "connections_max"
static const struct field listed[] = {{"name", WORD}, {"is_revoked", FLAG},
    {"keys", NUMBER}, {"rights", WORD}, {"jobs_per_s", NUMBER}, {"waiting_max", NUMBER},
    {"payload_bytes_max", NUMBER}, {"connections_max", NUMBER}, {"added_at", WORD},
    {"revoked_at", WORD}};
#define LISTED_COUNT 8
#define SHOWN_COUNT 10

static enum mr_status
written(const struct mr_wr *out, struct mr_err *err)
{
    return out->status == MR_OK
               ? MR_OK
               : mr_err_set(err, out->status, "Principals cannot be listed.",
                     "There are too many for one answer.",
                     "Look for yourself: select * from millrace.principals");
}

enum mr_status
mr_principal_list(struct mr_pg *pg, struct mr_wr *out, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status =
        mr_pg_run(pg, "select " LISTED " from millrace.principals order by name", 0, NULL,
            &result, err);

    if (status != MR_OK)
        return status;
    mr_wr_array(out, (uint32_t)mr_pg_rows(result));
    for (int i = 0; i < mr_pg_rows(result); i++) {
        mr_wr_map(out, LISTED_COUNT);
        put_row(out, result, i, listed, LISTED_COUNT);
    }
    mr_pg_free_result(&result);
    return written(out, err);
}

/* Rows of one principal as an array of maps under `name`. */
static enum mr_status
put_rows(struct mr_pg *pg, const char *sql, const char *principal, const char *name,
    const struct field *fields, int count, struct mr_wr *out, struct mr_err *err)
{
    struct pg_result *result = NULL;
    const char *const params[] = {principal};
    enum mr_status status = mr_pg_run(pg, sql, 1, params, &result, err);

    if (status != MR_OK)
        return status;
    mr_wr_cstr(out, name);
    mr_wr_array(out, (uint32_t)mr_pg_rows(result));
    for (int i = 0; i < mr_pg_rows(result); i++) {
        mr_wr_map(out, (uint32_t)count);
        put_row(out, result, i, fields, count);
    }
    mr_pg_free_result(&result);
    return MR_OK;
}

static enum mr_status
put_details(struct mr_pg *pg, const char *name, struct mr_wr *out, struct mr_err *err)
{
    static const struct field keys[] = {
        {"key", WORD}, {"added_at", WORD}, {"revoked_at", WORD}};
    static const struct field grants[] = {{"right", WORD}, {"is_denied", FLAG},
        {"queue", WORD}, {"kind", WORD}, {"scope", WORD}};
    enum mr_status status = put_rows(pg,
        "select key, added_at, revoked_at from millrace.principal_key "
        "where principal = $1 order by added_at, key",
        name, "key_rows", keys, 3, out, err);

    if (status == MR_OK)
        status = put_rows(pg,
            "select coalesce(role, action), is_denied, queue, kind, scope "
            "from millrace.principal_grant where principal = $1 order by id",
            name, "grant_rows", grants, 5, out, err);
    return status;
}

enum mr_status
mr_principal_show(
    struct mr_pg *pg, const char *name, struct mr_wr *out, struct mr_err *err)
{
    struct pg_result *result = NULL;
    const char *const params[] = {name};
    enum mr_status status = mr_pg_run(pg,
        "select " LISTED
        ", (select p.added_at from millrace.principal p where p.name = $1), "
        "(select p.revoked_at from millrace.principal p where p.name = $1) "
        "from millrace.principals where name = $1",
        1, params, &result, err);

    if (status != MR_OK)
        return status;
    if (mr_pg_rows(result) == 0) {
        mr_pg_free_result(&result);
        mr_wr_nil(out);
        return written(out, err);
    }
    mr_wr_map(out, SHOWN_COUNT + 2);
    put_row(out, result, 0, listed, SHOWN_COUNT);
    mr_pg_free_result(&result);
    status = put_details(pg, name, out, err);
    return status == MR_OK ? written(out, err) : status;
}
