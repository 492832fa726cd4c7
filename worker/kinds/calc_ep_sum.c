#include "worker/kinds/args.h"
#include "worker/kinds/ep.h"
#include "worker/kinds/kinds.h"

#include <stdlib.h>
#include <string.h>

/* The fan-in: snoozes until every block has a result, then adds them in the order of k, so that
 * the sums come out the same to the last bit however the blocks were spread. */

enum { BLOCKS_MAX = 1024, SNOOZE_MS = 100, FIRST_COUNT = 5 };

static const char sql[] =
    "select r.outcome, (j->>'k')::bigint, (j->>'pairs')::bigint, j->>'sx', j->>'sy',"
    " (j->'counts'->>0)::bigint, (j->'counts'->>1)::bigint, (j->'counts'->>2)::bigint,"
    " (j->'counts'->>3)::bigint, (j->'counts'->>4)::bigint, (j->'counts'->>5)::bigint,"
    " (j->'counts'->>6)::bigint, (j->'counts'->>7)::bigint, (j->'counts'->>8)::bigint,"
    " (j->'counts'->>9)::bigint"
    " from unnest($1::uuid[]) with ordinality as wanted(id, n)"
    " join millrace.result r using (id)"
    " cross join lateral millrace.msgpack_to_jsonb(r.body) j order by n";

/* "{id,id,...}" in the job's arena; NULL if one is not an id or there is no room. */
static const char *
array_of(struct millrace_job *job, const char *const *ids, uint32_t count)
{
    char *text = millrace_alloc(job, (size_t)count * 37 + 2);
    char *p = text;

    if (!text)
        return NULL;
    *p++ = '{';
    for (uint32_t i = 0; i < count; i++) {
        if (!mr_args_is_id(ids[i]))
            return NULL;
        memcpy(p, ids[i], 36);
        p += 36;
        *p++ = i + 1 < count ? ',' : '}';
    }
    *p = '\0';
    return text;
}

static bool
add(const struct millrace_rows *rows, int row, struct mr_ep *sum)
{
    const char *sx = millrace_rows_text(rows, row, 3),
               *sy = millrace_rows_text(rows, row, 4);

    if (millrace_rows_int(rows, row, 0) != 1 || millrace_rows_int(rows, row, 1) != row ||
        !sx || !sy)
        return false;
    sum->pairs += millrace_rows_int(rows, row, 2);
    sum->sx += strtod(sx, NULL);
    sum->sy += strtod(sy, NULL);
    for (int i = 0; i < MR_EP_RINGS; i++)
        sum->counts[i] += millrace_rows_int(rows, row, FIRST_COUNT + i);
    return true;
}

static void
put(struct millrace_job *job, const struct mr_ep *sum, uint32_t blocks)
{
    millrace_put_map(job, 5);
    millrace_put_str(job, "blocks");
    millrace_put_int(job, blocks);
    millrace_put_str(job, "pairs");
    millrace_put_int(job, sum->pairs);
    millrace_put_str(job, "sx");
    millrace_put_double(job, sum->sx);
    millrace_put_str(job, "sy");
    millrace_put_double(job, sum->sy);
    millrace_put_str(job, "counts");
    millrace_put_array(job, MR_EP_RINGS);
    for (int i = 0; i < MR_EP_RINGS; i++)
        millrace_put_int(job, sum->counts[i]);
}

static enum millrace_answer
run(struct millrace_job *job)
{
    struct mr_ep sum = {.pairs = 0};
    struct millrace_rows *rows;
    const char *const *ids;
    const char *array;
    uint32_t count;

    ids = millrace_arg_strs(job, "blocks", &count);
    if (!ids || count == 0 || count > BLOCKS_MAX)
        return millrace_fail_for_good(
            job, "\"blocks\" must be 1 to %d ids of calc.ep jobs", BLOCKS_MAX);
    array = array_of(job, ids, count);
    if (!array)
        return millrace_fail_for_good(
            job, "\"blocks\" holds something that is not an id");
    rows = millrace_sql(job, sql, 1, &array);
    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_count(rows) < (int)count) {
        millrace_progress(job, (uint32_t)millrace_rows_count(rows) * 1000 / count,
            "waiting for blocks");
        return millrace_snooze(job, SNOOZE_MS);
    }
    for (int i = 0; i < (int)count; i++) {
        if (!add(rows, i, &sum))
            return millrace_fail_for_good(
                job, "block %d (job %s) did not succeed, so there is no sum", i, ids[i]);
    }
    put(job, &sum, count);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_calc_ep_sum = {
    .name = "calc.ep_sum",
    .help = "{\"blocks\":[id of block 0, 1, ...]} -> {blocks,pairs,sx,sy,counts}; waits "
            "for them",
    .run = run,
};
