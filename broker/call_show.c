#include "broker/call_show.h"

#include "broker/guard.h"

#define KEYS_MAX 64u

/* The database looked for the owner, if only that one counts; queue and kind are looked at here. */
static bool
may_show(const struct mr_broker *broker, uint32_t peer, struct mr_rd rd)
{
    struct mr_span queue = MR_SPAN_NONE, kind = MR_SPAN_NONE, owner = MR_SPAN_NONE;
    uint32_t count = mr_rd_map(&rd, KEYS_MAX);
    enum mr_scope scope;

    for (uint32_t i = 0; i < count && rd.status == MR_OK; i++) {
        struct mr_span key = mr_rd_str(&rd, MR_NAME_BYTES_MAX);

        if (mr_rd_skip_nil(&rd))
            continue;
        if (mr_span_is(key, "queue"))
            queue = mr_rd_str(&rd, MR_NAME_BYTES_MAX);
        else if (mr_span_is(key, "kind"))
            kind = mr_rd_str(&rd, MR_NAME_BYTES_MAX);
        else if (mr_span_is(key, "submitted_by"))
            owner = mr_rd_str(&rd, MR_ERROR_BYTES_MAX);
        else
            mr_rd_skip(&rd);
    }
    if (rd.status)
        return false;
    scope = mr_guard_may(broker, peer, MR_RIGHT_FETCH, queue, kind);
    return scope == MR_SCOPE_ANY ||
           (scope == MR_SCOPE_OWN &&
               mr_span_eq(owner, mr_core_principal(broker->core, peer)));
}

void
mr_call_show_write(const struct mr_broker *broker, uint32_t peer, enum mr_scope scope,
    struct mr_wr *wr, const struct mr_task *task)
{
    struct mr_rd rd = mr_rd_open(mr_wr_span(&task->out));
    struct mr_core_job_info info;
    uint32_t count;

    if (mr_rd_peek(&rd) == MR_PACK_MAP && !may_show(broker, peer, rd)) {
        mr_wr_nil(wr);
        return;
    }
    if (mr_rd_peek(&rd) != MR_PACK_MAP ||
        !mr_core_may_see(broker->core, peer, task->ids[0], scope) ||
        mr_core_job(broker->core, task->ids[0], &info) != MR_OK) {
        mr_wr_raw(wr, mr_wr_span(&task->out));
        return;
    }
    count = mr_rd_map(&rd, UINT16_MAX);
    mr_wr_map(wr, count + 1);
    mr_wr_raw(wr, mr_span(rd.p, (size_t)(rd.end - rd.p)));
    mr_wr_cstr(wr, "live");
    mr_wr_map(wr, 5);
    mr_wr_cstr(wr, "state");
    mr_wr_cstr(wr, info.state);
    mr_wr_cstr(wr, "attempt");
    mr_wr_uint(wr, info.attempt);
    mr_wr_cstr(wr, "permille");
    mr_wr_uint(wr, info.permille);
    mr_wr_cstr(wr, "worker");
    mr_wr_str(wr, info.worker);
    mr_wr_cstr(wr, "progress");
    mr_wr_str(wr, info.progress);
}
