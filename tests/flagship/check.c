#include "tests/flagship/check.h"

#include "tests/flagship/check_sql.h"
#include "worker/road/fare.h"
#include "worker/road/route.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PHASES_MAX = 4, CLASSES_MAX = 8, FIELD_MAX = 65 };

static struct mr_check_row *
add(struct mr_check_report *report, const char *name, const char *rule)
{
    struct mr_check_row *row = &report->rows[report->count];

    MR_ASSERT(report->count < MR_CHECK_ROWS_MAX);
    report->count++;
    *row = (struct mr_check_row){.examined = 0};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->rule, sizeof row->rule, "%s", rule);
    return row;
}

static void
judge(struct mr_check_row *row)
{
    row->held = row->examined > 0 && row->damage == 0;
    if (row->examined == 0 && row->damage == 0)
        snprintf(row->worst, sizeof row->worst, "there is nothing to look at");
}

/* ---- the provider's log ---------------------------------------------------------------------- */

/* charge, key, ride, cents, separated by tabs; anything else is not the provider's. */
static bool
split(char *line, char *fields[4])
{
    char *end;

    for (int i = 0; i < 4; i++) {
        fields[i] = line;
        line += strcspn(line, "\t\n");
        if (*line != (i < 3 ? '\t' : '\n') || line == fields[i] ||
            line - fields[i] >= FIELD_MAX)
            return false;
        *line++ = '\0';
    }
    errno = 0;
    strtoll(fields[3], &end, 10);
    return errno == 0 && *end == '\0' && *line == '\0';
}

static enum mr_status
load_lines(struct mr_pg *pg, FILE *file, const char *path, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    char line[4 * FIELD_MAX + 8];
    char *fields[4];

    for (unsigned n = 1; !status && fgets(line, sizeof line, file); n++) {
        if (!split(line, fields))
            return mr_err_setf(err, MR_MALFORMED, "cannot read the provider's log",
                "Give the log that millrace-payd has written.",
                "%.200s, line %u is not: charge, key, ride, cents", path, n);
        status =
            mr_pg_run(pg, "insert into provider_charge values ($1, $2, $3, $4::bigint)",
                4, (const char *const *)fields, NULL, err);
    }
    return status;
}

static enum mr_status
load_log(struct mr_pg *pg, const char *path, struct mr_err *err)
{
    FILE *file = fopen(path, "r");
    enum mr_status status;

    if (!file)
        return mr_err_setf(err, MR_NOT_FOUND, "cannot read the provider's log",
            "Was millrace-payd started with --log?", "%.200s: %s", path, strerror(errno));
    status = mr_pg_run(pg,
        "create temp table provider_charge (charge text not null, key text not null,"
        " ride text not null, cents bigint not null) on commit drop",
        0, NULL, NULL, err);
    if (!status)
        status = load_lines(pg, file, path, err);
    fclose(file);
    return status;
}

/* ---- questions to the database ----------------------------------------------------------------- */

static enum mr_status
ask(struct mr_pg *pg, struct mr_check_report *report, struct mr_err *err)
{
    for (size_t i = 0; i < mr_check_sql_count; i++) {
        const struct mr_check_sql *sql = &mr_check_sql_all[i];
        struct mr_check_row *row = add(report, sql->name, sql->rule);
        struct pg_result *result = NULL;
        enum mr_status status = mr_pg_run(pg, sql->query, 0, NULL, &result, err);

        if (status)
            return status;
        row->examined = mr_pg_int(result, 0, 0);
        row->damage = mr_pg_int(result, 0, 1);
        if (mr_pg_text(result, 0, 2))
            snprintf(row->worst, sizeof row->worst, "%s", mr_pg_text(result, 0, 2));
        mr_pg_free_result(&result);
        judge(row);
        if (strcmp(row->name, "double-assigned") == 0)
            report->double_assigned = row->damage;
        else if (strcmp(row->name, "charged twice") == 0)
            report->charged_twice = row->damage;
    }
    return MR_OK;
}

/* ---- routes and fares, worked out again --------------------------------------------------------- */

/* One graph and one search for each class that occurs. */
struct routers {
    const struct mr_road *road;
    struct {
        char name[33];
        struct mr_graph *graph;
        struct mr_route_search *search;
    } classes[CLASSES_MAX];
    uint32_t count;
};

static struct mr_route_search *
router(struct routers *routers, const char *class_name)
{
    uint32_t i = 0;

    while (i < routers->count && strcmp(routers->classes[i].name, class_name) != 0)
        i++;
    if (i < routers->count)
        return routers->classes[i].search;
    if (i == CLASSES_MAX || strlen(class_name) > 32)
        return NULL;
    if (mr_graph_new(routers->road, class_name, &routers->classes[i].graph, NULL))
        return NULL;
    if (mr_route_search_new(routers->classes[i].graph, &routers->classes[i].search)) {
        mr_graph_destroy(&routers->classes[i].graph);
        return NULL;
    }
    snprintf(routers->classes[i].name, sizeof routers->classes[i].name, "%s", class_name);
    routers->count++;
    return routers->classes[i].search;
}

static void
routers_fini(struct routers *routers)
{
    for (uint32_t i = 0; i < routers->count; i++) {
        mr_route_search_destroy(&routers->classes[i].search);
        mr_graph_destroy(&routers->classes[i].graph);
    }
}

enum { COL_ID, COL_CLASS, COL_FROM, COL_TO, COL_STATE, COL_MS, COL_CM, COL_CENTS };

/* NULL if all is as the map and the tariff say. */
static const char *
objection(struct routers *routers, const struct pg_result *rides, int i)
{
    struct mr_route_search *search = router(routers, mr_pg_text(rides, i, COL_CLASS));
    uint32_t from = mr_road_find(routers->road, mr_pg_text(rides, i, COL_FROM));
    uint32_t to = mr_road_find(routers->road, mr_pg_text(rides, i, COL_TO));
    bool is_done = strcmp(mr_pg_text(rides, i, COL_STATE), "done") == 0;
    bool is_refused = strcmp(mr_pg_text(rides, i, COL_STATE), "refused") == 0;
    struct mr_fare fare;
    struct mr_route route;
    const char *why;

    if (!search || from == MR_ROAD_NONE || to == MR_ROAD_NONE)
        return "its class or its edges are not of this map";
    if (!mr_route_find(search, from, to, &route))
        return is_refused ? NULL : "there is no way";
    if (is_refused)
        return "was refused, but there is a way";
    if (!is_done)
        return NULL;
    if (mr_pg_int(rides, i, COL_MS) != route.cost.ms ||
        mr_pg_int(rides, i, COL_CM) != route.cost.cm)
        return "its route is not the one of the map";
    if (!mr_fare_quote(&(struct mr_fare_ask){.metres = mr_fare_metres(route.cost.cm)},
            &fare, &why) ||
        mr_pg_int(rides, i, COL_CENTS) != fare.total)
        return "its fare is not the one of the tariff";
    return NULL;
}

static enum mr_status
recompute(const struct mr_check_input *input, struct mr_check_report *report,
    struct mr_err *err)
{
    struct mr_check_row *row =
        add(report, "recomputed", "routes and fares equal those of map and tariff");
    struct routers routers = {.road = input->road};
    struct pg_result *rides = NULL;
    enum mr_status status = mr_pg_run(input->pg,
        "select id, class, from_edge, to_edge, state, route_ms, route_cm, fare_cents"
        " from ride.ride order by id",
        0, NULL, &rides, err);

    if (status)
        return status;
    row->examined = mr_pg_rows(rides);
    for (int i = 0; i < mr_pg_rows(rides); i++) {
        const char *wrong = objection(&routers, rides, i);

        if (wrong && row->damage++ == 0)
            snprintf(row->worst, sizeof row->worst, "ride %s: %s",
                mr_pg_text(rides, i, COL_ID), wrong);
    }
    judge(row);
    routers_fini(&routers);
    mr_pg_free_result(&rides);
    return MR_OK;
}

/* ---- totals ------------------------------------------------------------------------------------- */

static void
compare(struct mr_check_row *row, const char *what, int64_t is, int64_t should)
{
    if (should == MR_CHECK_UNKNOWN || is == should)
        return;
    if (row->damage++ == 0)
        snprintf(row->worst, sizeof row->worst, "%s: %" PRId64 " instead of %" PRId64,
            what, is, should);
}

static void
expect(int64_t *sum, int64_t part)
{
    *sum = *sum == MR_CHECK_UNKNOWN || part == MR_CHECK_UNKNOWN ? MR_CHECK_UNKNOWN
                                                                : *sum + part;
}

static enum mr_status
total(const struct mr_check_input *input, const struct mr_check_phase *phase,
    struct mr_check_report *report, struct mr_err *err)
{
    struct mr_check_row *row =
        add(report, phase->name, "all rides done, totals as expected");
    struct pg_result *sums = NULL;
    enum mr_status status = mr_pg_run(input->pg,
        "select count(*), coalesce(sum(route_ms), 0), coalesce(sum(route_cm), 0),"
        " coalesce(sum(fare_cents), 0) from ride.ride"
        " where state = 'done' and starts_with(request_key, $1)",
        1, &phase->key_prefix, &sums, err);

    if (status)
        return status;
    row->examined = mr_pg_int(sums, 0, 0);
    compare(row, "rides done", row->examined, phase->rides);
    compare(row, "routes in ms", mr_pg_int(sums, 0, 1), phase->route_ms);
    compare(row, "routes in cm", mr_pg_int(sums, 0, 2), phase->route_cm);
    compare(row, "fares in cents", mr_pg_int(sums, 0, 3), phase->fare_cents);
    judge(row);
    report->rides_done += row->examined;
    report->route_ms += mr_pg_int(sums, 0, 1);
    report->route_cm += mr_pg_int(sums, 0, 2);
    report->fare_cents += mr_pg_int(sums, 0, 3);
    expect(&report->expected_ms, phase->route_ms);
    expect(&report->expected_cm, phase->route_cm);
    expect(&report->expected_cents, phase->fare_cents);
    mr_pg_free_result(&sums);
    return MR_OK;
}

static double
number(const struct pg_result *result, int column)
{
    const char *text = mr_pg_text(result, 0, column);

    return text ? strtod(text, NULL) : 0;
}

/* Snoozed and failed attempts are part of a job's time. Jobs that were told to wait (run_at)
 * count from then. */
static enum mr_status
figures(const struct mr_check_input *input, struct mr_check_report *report,
    struct mr_err *err)
{
    static const char sql[] =
        "with window_of as (select min(j.submitted_at) as since, max(e.at) as until"
        " from ride.ride r join millrace.job j on j.id = r.id join ride.event e"
        " on e.ride_id = r.id where starts_with(r.request_key, $1)),"
        " took as (select extract(epoch from s.finished_at - greatest(j.submitted_at,"
        " j.run_at)) * 1000 as ms from millrace.job j join millrace.result s using (id))"
        " select (select percentile_disc(0.5) within group (order by ms) from took),"
        " (select percentile_disc(0.99) within group (order by ms) from took),"
        " (select count(*) / nullif(extract(epoch from w.until - w.since), 0)"
        " from window_of w, millrace.result s where s.finished_at between w.since and "
        "w.until"
        " group by w.since, w.until), (select coalesce(sum(cents), 0) from "
        "ride.ledger_entry)";
    const char *last =
        input->phase_count ? input->phases[input->phase_count - 1].key_prefix : "";
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_run(input->pg, sql, 1, &last, &result, err);

    if (status)
        return status;
    report->p50_ms = number(result, 0);
    report->p99_ms = number(result, 1);
    report->jobs_per_s = number(result, 2);
    report->ledger_cents = mr_pg_int(result, 0, 3);
    mr_pg_free_result(&result);
    return MR_OK;
}

static enum mr_status
run_all(const struct mr_check_input *input, struct mr_check_report *report,
    struct mr_err *err)
{
    enum mr_status status = mr_pg_run(
        input->pg, "set transaction isolation level repeatable read", 0, NULL, NULL, err);

    if (!status)
        status = load_log(input->pg, input->provider_log, err);
    if (!status)
        status = ask(input->pg, report, err);
    if (!status)
        status = recompute(input, report, err);
    for (uint32_t i = 0; i < input->phase_count && !status; i++)
        status = total(input, &input->phases[i], report, err);
    return status ? status : figures(input, report, err);
}

enum mr_status
mr_check_run(const struct mr_check_input *input, struct mr_check_report *report,
    struct mr_err *err)
{
    enum mr_status status;

    *report = (struct mr_check_report){.count = 0};
    if (input->phase_count > PHASES_MAX)
        return mr_err_set(err, MR_BAD_ARGUMENT, "cannot check", "too many phases", NULL);
    status = mr_pg_begin(input->pg, err);
    if (status)
        return status;
    status = run_all(input, report, err);
    mr_pg_rollback(input->pg);
    report->held = !status;
    for (uint32_t i = 0; i < report->count; i++)
        report->held = report->held && report->rows[i].held;
    return status;
}

/* ---- for people ----------------------------------------------------------------------------------- */

/* "6,574,821" */
static const char *
grouped(int64_t v, char out[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, v);
    char *p = out;

    for (int i = 0; i < n; i++) {
        if (i > 0 && digits[i - 1] != '-' && (n - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

/* "663.34" */
static const char *
euros(int64_t cents, char out[32])
{
    int64_t size = cents < 0 ? -cents : cents;

    snprintf(out, 32, "%s%" PRId64 ".%02" PRId64, cents < 0 ? "-" : "", size / 100,
        size % 100);
    return out;
}

static void
print_total(FILE *out, const char *what, const char *unit, int64_t is, int64_t should,
    const char *(*form)(int64_t v, char out[32]))
{
    char a[32], b[32];

    fprintf(out, "  %-6s %14s %-3s  ", what, form(is, a), unit);
    if (should == MR_CHECK_UNKNOWN)
        fprintf(out, "(there is no published total for this map)\n");
    else if (is == should)
        fprintf(out, "= the expected\n");
    else
        fprintf(out, "NOT the expected %s\n", form(should, b));
}

void
mr_check_print(const struct mr_check_report *report, FILE *out)
{
    char ledger[32];

    for (uint32_t i = 0; i < report->count; i++) {
        const struct mr_check_row *row = &report->rows[i];

        fprintf(out, "  %-4s %-16s %6" PRId64 " looked at  %s\n",
            row->held ? "ok" : "FAIL", row->name, row->examined, row->rule);
        if (!row->held)
            fprintf(
                out, "       %" PRId64 " wrong, such as: %s\n", row->damage, row->worst);
    }
    fprintf(out,
        "\n  rides done %" PRId64 " · double-assigned %" PRId64
        " · charged twice %" PRId64 " · ledger %s\n",
        report->rides_done, report->double_assigned, report->charged_twice,
        euros(report->ledger_cents, ledger));
    print_total(out, "routes", "ms", report->route_ms, report->expected_ms, grouped);
    print_total(out, "", "cm", report->route_cm, report->expected_cm, grouped);
    print_total(out, "fares", "EUR", report->fare_cents, report->expected_cents, euros);
    fprintf(out,
        "  all jobs, submit to result (waiting for vehicles included): p50 %.1f ms,"
        " p99 %.1f ms\n  %.0f jobs/s in the last phase\n",
        report->p50_ms, report->p99_ms, report->jobs_per_s);
}
