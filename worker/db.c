#include "worker/db.h"

#include <stdio.h>
#include <string.h>

#include "schemas/sql/finish.h"

char *
mr_db_name(struct mr_uuid instance, char out[MR_DB_NAME_MAX])
{
    size_t n = strlen(MR_WORKER_SESSION_PREFIX);

    memcpy(out, MR_WORKER_SESSION_PREFIX, n);
    for (size_t i = 0; i < sizeof instance.b; i++)
        (void)snprintf(out + n + 2 * i, 3, "%02x", instance.b[i]);
    return out;
}

enum mr_status
mr_db_get(struct mr_db *db, struct mr_err *err)
{
    enum mr_status status;

    if (db->pg && mr_pg_is_alive(db->pg))
        return MR_OK;
    mr_db_close(db);
    status = mr_pg_open(&db->pg, db->conninfo, db->name, err);
    if (status == MR_OK && db->guard)
        mr_canceller_guard_give(db->guard, mr_pg_cancel_new(db->pg));
    return status;
}

void
mr_db_close(struct mr_db *db)
{
    if (db->guard)
        mr_canceller_guard_give(db->guard, NULL);
    mr_pg_close(&db->pg);
}

int
mr_db_pause_ms(unsigned n)
{
    return n < 5 ? 100 << n : 2000;
}
