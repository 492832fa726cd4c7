#include "tests/chaos/check_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A started handler that never ended, in a worker that was killed: how long until its job was
 * started again. */
#define CUT_OFF                                                                          \
    "cut as (select k.at, b.id from (select at, substring(detail from"                   \
    " 'pid=([0-9]+)')::int as pid from fault where fault = 'kill-worker'"                \
    " and phase = 'fire') k join begun b on b.pid = k.pid and b.what = 'S'"              \
    " and b.at <= k.at where not exists (select from begun e where e.what = 'E'"         \
    " and e.id = b.id and e.pid = b.pid and e.attempt = b.attempt and e.at >= b.at)),"   \
    " again as (select c.id, c.at, min(b.at) as until, (min(b.at) - c.at) / 1000.0 as "  \
    "ms"                                                                                 \
    " from cut c join begun b on b.id = c.id and b.what = 'S' and b.at > c.at"           \
    " group by c.id, c.at), alone as (select ms from again a where not exists"           \
    " (select from fault f where f.fault ~ "                                             \
    "'^(kill-broker|freeze-broker|usurp|link|db-)'"                                      \
    " and f.at between a.at - 5000000 and a.until))"

/* An attempt that its handler ended while another attempt's success stands, and of which nobody
 * says that it failed: it came too late. */
#define LATE                                                                             \
    "late as (select count(*) as n from (select distinct b.id, b.attempt from begun b"   \
    " join millrace.result r on r.id = b.id and r.outcome = 1"                           \
    " where b.what = 'E' and b.attempt <> r.attempt and not exists (select from"         \
    " millrace.attempt a where a.id = b.id and a.attempt = b.attempt"                    \
    " and a.outcome <> 2)) x)"

static const char figures_sql[] =
    "with " CUT_OFF ", " LATE " select name, value from ("
    "select 1 as part, 'acknowledged' as name, count(distinct id)::float8 as value from "
    "seen"
    " where phase = 'ok' and op in ('submit', 'resubmit')"
    " and code in ('OK', 'KNOWN', 'FINISHED')"
    " union all select 2, 'jobs', count(*) from millrace.job"
    " union all select 3, millrace.outcome_word(o), (select count(*) from millrace.result"
    " where outcome = o) from unnest('{1,2,3,4}'::smallint[]) o"
    " union all select 4, 'kind.' || kind, count(*) from millrace.job group by kind"
    " union all select 5, 'starts', count(*) from begun where what = 'S'"
    " union all select 6, 'attempts_lost', count(*) from millrace.attempt"
    " where outcome in (2, 5)"
    " union all select 7, 'redeliveries', count(*) from (select distinct b.id, b.attempt"
    " from begun b join millrace.attempt a on a.id = b.id and a.attempt < b.attempt"
    " and a.outcome in (2, 5) where b.what = 'S') x"
    " union all select 8, 'late_finishers', n from late"
    " union all select 9, 'quarantined', count(*) from millrace.result"
    " where outcome = 2 and error like 'quarantined%'"
    " union all select 10, 'unknown', count(*) from seen where phase = 'unknown'"
    " union all select 11, 'conflicts', count(*) from seen where code = 'CONFLICT'"
    " union all select 12, 'resubmits', count(*) from seen where op = 'resubmit'"
    " and phase = 'ok'"
    " union all select 13, 'epochs', count(*) from epoch_record where what = 'claim'"
    " union all select 14, 'fault.' || fault, count(*) from fault where phase = 'fire'"
    " and fault <> 'drain' group by fault"
    " union all select 15, g.name, count(f.fault) from (values ('kills', '^kill-'),"
    " ('freezes', '^freeze-'), ('db_crashes', '^db-(crash|panic)'), ('link_cuts', "
    "'-cut-'))"
    " g (name, pattern) left join fault f on f.fault ~ g.pattern and f.phase = 'fire'"
    " group by g.name"
    " union all select 16, name, sum(value) from counter group by name"
    " union all select 17, 'restarts', count(*) from again"
    " union all select 18, 'restart_p50_ms', percentile_disc(0.5) within group (order by "
    "ms)"
    " from again"
    " union all select 19, 'restart_p99_ms', percentile_disc(0.99) within group (order "
    "by ms)"
    " from again"
    " union all select 20, 'restart_max_ms', max(ms) from again"
    " union all select 21, 'restarts_alone', count(*) from alone"
    " union all select 22, 'restart_alone_p99_ms', percentile_disc(0.99) within group"
    " (order by ms) from alone"
    " union all select 23, 'restart_alone_max_ms', max(ms) from alone"
    " union all select 24, 'drain_s', (max(at) filter (where phase = 'heal')"
    " - max(at) filter (where phase = 'fire')) / 1e6 from fault where fault = 'drain'"
    ") x where value is not null order by part, name";

static void
put_figure(struct mr_chaos_report *report, const char *name, double value)
{
    struct mr_chaos_figure *figure;

    if (report->figure_count == MR_CHAOS_FIGURES_MAX)
        return;
    figure = &report->figures[report->figure_count++];
    (void)snprintf(figure->name, sizeof figure->name, "%s", name);
    figure->value = value;
}

static int64_t
damage_of(const struct mr_chaos_report *report, const char *name)
{
    for (uint32_t i = 0; i < report->count; i++)
        if (strcmp(report->rows[i].name, name) == 0)
            return report->rows[i].damage;
    return 0;
}

/* ---- a run that tested nothing ----------------------------------------------------------------- */

/* At least so much, by profile. */
static const struct minimum {
    const char *name;
    double at_least[MR_CHAOS_PROFILES];
} minima[] = {
    {"acknowledged", {20, 1000, 20000}},
    {"kind.chaos.transfer", {1, 100, 1000}},
    {"kind.chaos.calc", {1, 100, 1000}},
    {"kind.chaos.chain", {1, 100, 500}},
    {"kind.chaos.slow", {0, 10, 100}},
    {"kind.chaos.poison", {0, 10, 100}},
    {"kind.chaos.snooze", {0, 10, 100}},
    {"failed", {0, 1, 10}},
    {"cancelled", {0, 1, 1}},
    {"conflicts", {0, 1, 10}},
    {"resubmits", {0, 10, 100}},
    {"kills", {0, 3, 20}},
    {"freezes", {0, 2, 10}},
    {"db_crashes", {0, 1, 5}},
    {"link_cuts", {0, 1, 10}},
    {"fault.kill-worker", {0, 1, 1}},
    {"fault.kill-broker", {0, 1, 1}},
    {"fault.kill-client", {0, 1, 1}},
    {"fault.freeze-worker", {0, 1, 1}},
    {"fault.freeze-broker", {0, 1, 1}},
    {"fault.db-backend", {0, 1, 1}},
    {"restarts", {0, 1, 10}},
    {"redeliveries", {0, 1, 10}},
    {"late_results", {0, 0, 1}},
    {"in_doubt_settled", {0, 0, 1}},
};

static double
value_of(const struct mr_chaos_report *report, const char *name)
{
    for (uint32_t i = 0; i < report->figure_count; i++)
        if (strcmp(report->figures[i].name, name) == 0)
            return report->figures[i].value;
    return 0;
}

static void
judge_minima(struct mr_chaos_report *report, enum mr_chaos_profile profile)
{
    struct mr_chaos_row *row = mr_chaos_row_add(
        report, "C11 not empty", "the run saw what it is for, often enough");
    size_t n = 0;

    for (size_t i = 0; i < sizeof minima / sizeof minima[0]; i++) {
        double value = value_of(report, minima[i].name);
        double at_least = minima[i].at_least[profile];

        if (at_least <= 0)
            continue;
        row->examined++;
        if (value >= at_least)
            continue;
        row->damage++;
        if (n < sizeof row->kinds)
            n += (size_t)snprintf(row->kinds + n, sizeof row->kinds - n,
                "%s%s %.0f of %.0f", n ? ", " : "", minima[i].name, value, at_least);
    }
    row->held = row->damage == 0;
    if (!row->held)
        (void)snprintf(row->worst, sizeof row->worst, "a green run would prove nothing");
}

enum mr_status
mr_chaos_measure(struct mr_pg *pg, enum mr_chaos_profile profile,
    struct mr_chaos_report *report, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_run(pg, figures_sql, 0, NULL, &result, err);

    if (status)
        return status;
    put_figure(report, "lost", (double)damage_of(report, "C1 ends"));
    put_figure(report, "duplicated_in_effect", (double)damage_of(report, "C2 effects"));
    put_figure(report, "phantom", (double)damage_of(report, "C3 phantoms"));
    for (int i = 0; i < mr_pg_rows(result); i++)
        put_figure(
            report, mr_pg_text(result, i, 0), strtod(mr_pg_text(result, i, 1), NULL));
    mr_pg_free_result(&result);
    judge_minima(report, profile);
    return MR_OK;
}
