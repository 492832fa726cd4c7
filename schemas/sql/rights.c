#include <libpq-fe.h>

#include "schemas/sql/store_priv.h"

#include <string.h>

static const char listen_sql[] = "listen millrace_rights";

/* One statement, so that no row is from before a change that another one shows; numbers of
 * principals before whatever names them. */
static const char read_sql[] =
    "select 0 as type, r.version as number, null as text, null as flag, null as queue, "
    "null as kind, null as a, null as b, null as c, null as d from millrace.rights r "
    "union all select 1, p.number, p.name, p.revoked_at is not null, null, null, "
    "p.jobs_per_s, p.waiting_max, p.payload_bytes_max, p.connections_max "
    "from millrace.principal p "
    "union all select 2, p.number, k.key, k.revoked_at is not null, null, null, null, "
    "null, null, null from millrace.principal_key k "
    "join millrace.principal p on p.name = k.principal "
    "union all select 3, p.number, coalesce(g.role, g.action), g.is_denied, g.queue, "
    "g.kind, (g.scope is not distinct from 'any')::integer, null, null, null "
    "from millrace.principal_grant g join millrace.principal p on p.name = g.principal "
    "order by 1, 2";
enum { TYPE, NUMBER, TEXT, FLAG, QUEUE, KIND, A, B, C, D };

enum mr_status
mr_store_rights_listen(struct mr_store *store, struct mr_pg *pg, struct mr_err *err)
{
    store->has_heard = true; /* not what was said while nobody listened */
    return mr_pg_script(pg, listen_sql, "cannot listen for changes of rights", err);
}

int
mr_store_fd(const struct mr_store *store)
{
    return store->pg && mr_pg_is_alive(store->pg) ? PQsocket(store->pg->conn) : -1;
}

bool
mr_store_rights_moved(struct mr_store *store)
{
    PGnotify *notify;

    if (mr_store_fd(store) < 0)
        return false;
    /* A connection that has ended says so to whoever uses it next. */
    (void)PQconsumeInput(store->pg->conn);
    while ((notify = PQnotifies(store->pg->conn)) != NULL) {
        store->has_heard = true;
        PQfreemem(notify);
    }
    return store->has_heard;
}

static bool
is_true(const struct pg_result *result, int row, int column)
{
    const char *text = mr_pg_text(result, row, column);

    return text && strcmp(text, "t") == 0;
}

static struct mr_rights_row
row_at(const struct pg_result *result, int i)
{
    static const enum mr_rights_row_type types[] = {
        [1] = MR_ROW_PRINCIPAL, [2] = MR_ROW_KEY, [3] = MR_ROW_GRANT};
    struct mr_rights_row row = {.type = types[mr_pg_int(result, i, TYPE)],
        .principal = (uint32_t)mr_pg_int(result, i, NUMBER),
        .text = mr_span_str(mr_pg_text(result, i, TEXT))};

    switch (row.type) {
    case MR_ROW_PRINCIPAL:
        row.quota = (struct mr_quota){.jobs_per_s = (uint32_t)mr_pg_int(result, i, A),
            .waiting_max = (uint32_t)mr_pg_int(result, i, B),
            .payload_bytes_max = (uint64_t)mr_pg_int(result, i, C),
            .connections_max = (uint32_t)mr_pg_int(result, i, D)};
        row.is_revoked = is_true(result, i, FLAG);
        break;
    case MR_ROW_KEY:
        row.is_revoked = is_true(result, i, FLAG);
        break;
    case MR_ROW_GRANT:
        row.is_denied = is_true(result, i, FLAG);
        row.is_any = mr_pg_int(result, i, A) != 0;
        row.queue = mr_span_str(mr_pg_text(result, i, QUEUE));
        row.kind = mr_span_str(mr_pg_text(result, i, KIND));
        break;
    }
    return row;
}

enum mr_status
mr_store_rights(
    struct mr_store *store, mr_rights_row_fn fn, void *context, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);
    int64_t version = 0;

    if (status == MR_OK)
        status = mr_pg_run(store->pg, read_sql, 0, NULL, &result, err);
    if (status != MR_OK)
        return status;
    for (int i = 0; i < mr_pg_rows(result); i++) {
        struct mr_rights_row row;

        if (mr_pg_int(result, i, TYPE) == 0) {
            version = mr_pg_int(result, i, NUMBER);
            continue;
        }
        row = row_at(result, i);
        if (!fn(context, &row))
            break;
    }
    mr_pg_free_result(&result);
    store->rights_version = version;
    store->has_heard = false;
    return MR_OK;
}

/* ---- for administrators ------------------------------------------------------------------------ */

enum mr_status
mr_store_change_principal(struct mr_store *store,
    const struct mr_principal_change *change, struct mr_wr *out, struct mr_err *err)
{
    char text[MR_PRINCIPAL_TEXT_BYTES];
    enum mr_status status = mr_store_is_ready(store, err);

    if (status == MR_OK)
        status = mr_principal_change(store->pg, change, text, err);
    if (status != MR_OK)
        return status;
    mr_wr_map(out, 1);
    mr_wr_cstr(out, "text");
    mr_wr_cstr(out, text);
    return MR_OK;
}

enum mr_status
mr_store_principals(
    struct mr_store *store, const char *name, struct mr_wr *out, struct mr_err *err)
{
    enum mr_status status = mr_store_is_ready(store, err);

    if (status != MR_OK)
        return status;
    return name ? mr_principal_show(store->pg, name, out, err)
                : mr_principal_list(store->pg, out, err);
}
