#include "tests/chaos/check_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char watch_sql[] =
    "create table epoch_record (seq bigserial, what text not null, broker text not null,"
    " epoch bigint)";

/* A broker's sessions carry the last eight digits of its id in their name. */
static const char *const watch_more[] = {
    "create function epoch_note_claim() returns trigger language plpgsql as $$ begin"
    " insert into public.epoch_record (what, broker, epoch)"
    " values ('claim', right(new.owner::text, 8), new.epoch); return null; end $$",
    "create function epoch_note_write() returns trigger language plpgsql as $$ begin"
    " insert into public.epoch_record (what, broker) values (tg_table_name,"
    " substring(current_setting('application_name') from 'millrace broker "
    "([0-9a-f]{8})'));"
    " return null; end $$",
    "create trigger note_claim after insert or update of epoch on millrace.shard"
    " for each row execute function epoch_note_claim()",
    "create trigger note_write after insert on millrace.job for each statement when"
    " (current_setting('application_name') like 'millrace broker %')"
    " execute function epoch_note_write()",
    "create trigger note_write after insert on millrace.attempt for each statement when"
    " (current_setting('application_name') like 'millrace broker %')"
    " execute function epoch_note_write()",
    "create trigger note_write after insert on millrace.result for each statement when"
    " (current_setting('application_name') like 'millrace broker %')"
    " execute function epoch_note_write()"};

enum mr_status
mr_chaos_watch(struct mr_pg *pg, struct mr_err *err)
{
    enum mr_status status = mr_pg_run(pg, watch_sql, 0, NULL, NULL, err);

    for (size_t i = 0; i < sizeof watch_more / sizeof watch_more[0] && !status; i++)
        status = mr_pg_run(pg, watch_more[i], 0, NULL, NULL, err);
    return status;
}

/* ---- questions ------------------------------------------------------------------------------- */

struct mr_chaos_row *
mr_chaos_row_add(struct mr_chaos_report *report, const char *name, const char *rule)
{
    struct mr_chaos_row *row = &report->rows[report->count];

    MR_ASSERT(report->count < MR_CHAOS_ROWS_MAX);
    report->count++;
    *row = (struct mr_chaos_row){.name = name, .rule = rule};
    return row;
}

static void
copy_text(char *out, size_t room, const struct pg_result *result, int column)
{
    const char *text = mr_pg_text(result, 0, column);

    (void)snprintf(out, room, "%s", text ? text : "");
}

static enum mr_status
tell_story(struct mr_pg *pg, struct mr_chaos_row *row, struct mr_err *err)
{
    const char *params[] = {row->worst_id};
    struct pg_result *lines = NULL;
    enum mr_status status = mr_pg_run(pg, mr_chaos_story_sql, 1, params, &lines, err);
    size_t n = 0;

    for (int i = 0; !status && i < mr_pg_rows(lines); i++) {
        const char *line = mr_pg_text(lines, i, 0);

        if (!line || n + strlen(line) + 2 > sizeof row->story)
            break;
        n += (size_t)snprintf(row->story + n, sizeof row->story - n, "%s\n", line);
    }
    mr_pg_free_result(&lines);
    return status;
}

#define JUDGE_HEAD "with judged as materialized ("
#define JUDGE_TAIL                                                                       \
    "), kinds as (select problem, count(*) as n from judged where problem is not null"   \
    " group by problem) select count(*), count(problem),"                                \
    " (select string_agg(problem || ' ' || n, ', ' order by n desc, problem) from "      \
    "kinds),"                                                                            \
    " (array_agg(problem || coalesce(' (' || note || ')', '') order by id, note)"        \
    " filter (where problem is not null))[1],"                                           \
    " (array_agg(id order by id, note) filter (where problem is not null))[1] from "     \
    "judged"

static enum mr_status
ask(struct mr_pg *pg, const struct mr_chaos_sql *sql, struct mr_chaos_report *report,
    struct mr_err *err)
{
    struct mr_chaos_row *row = mr_chaos_row_add(report, sql->name, sql->rule);
    struct pg_result *result = NULL;
    char query[8192];
    enum mr_status status;
    int n = snprintf(query, sizeof query, JUDGE_HEAD "%s" JUDGE_TAIL, sql->query);

    MR_ASSERT(n > 0 && (size_t)n < sizeof query);
    status = mr_pg_run(pg, query, 0, NULL, &result, err);
    if (status)
        return status;
    row->examined = mr_pg_int(result, 0, 0);
    row->damage = mr_pg_int(result, 0, 1);
    copy_text(row->kinds, sizeof row->kinds, result, 2);
    copy_text(row->worst, sizeof row->worst, result, 3);
    copy_text(row->worst_id, sizeof row->worst_id, result, 4);
    mr_pg_free_result(&result);
    row->held = row->examined > 0 && row->damage == 0;
    if (row->examined == 0)
        (void)snprintf(row->worst, sizeof row->worst, "there is nothing to look at");
    return row->worst_id[0] ? tell_story(pg, row, err) : MR_OK;
}

static const char *const session_sql[] = {
    "set transaction isolation level repeatable read",
    "set local work_mem = '256MB'",
    "set local statement_timeout = 0",
    "set local jit = off",
};

static const char *const analyze_sql[] = {"create index on seen (id)",
    "create index on begun (id)", "analyze seen", "analyze begun", "analyze told"};

static enum mr_status
run_list(struct mr_pg *pg, const char *const *list, size_t count, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < count && !status; i++)
        status = mr_pg_run(pg, list[i], 0, NULL, NULL, err);
    return status;
}

static enum mr_status
run_all(struct mr_pg *pg, const char *folder, enum mr_chaos_profile profile,
    struct mr_chaos_report *report, struct mr_err *err)
{
    enum mr_status status =
        run_list(pg, session_sql, sizeof session_sql / sizeof session_sql[0], err);

    if (!status)
        status = mr_chaos_load(pg, folder, err);
    if (!status)
        status = mr_chaos_tell(pg, err);
    if (!status)
        status =
            run_list(pg, analyze_sql, sizeof analyze_sql / sizeof analyze_sql[0], err);
    for (uint32_t i = 0; i < mr_chaos_sql_count && !status; i++)
        status = ask(pg, &mr_chaos_sql_all[i], report, err);
    return status ? status : mr_chaos_measure(pg, profile, report, err);
}

enum mr_status
mr_chaos_check(struct mr_pg *pg, const char *folder, enum mr_chaos_profile profile,
    struct mr_chaos_report *report, struct mr_err *err)
{
    enum mr_status status = mr_pg_begin(pg, err);

    report->count = report->figure_count = 0;
    report->held = false;
    if (status)
        return status;
    status = run_all(pg, folder, profile, report, err);
    mr_pg_rollback(pg);
    report->held = !status;
    for (uint32_t i = 0; i < report->count; i++)
        report->held = report->held && report->rows[i].held;
    return status;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void
print_story(const struct mr_chaos_row *row, FILE *out)
{
    fprintf(out, "       %s\n", row->worst_id);
    for (const char *line = row->story; *line;) {
        size_t n = strcspn(line, "\n");

        fprintf(out, "         %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

void
mr_chaos_print(const struct mr_chaos_report *report, FILE *out)
{
    for (uint32_t i = 0; i < report->count; i++) {
        const struct mr_chaos_row *row = &report->rows[i];

        fprintf(out, "  %-4s %-14s %8" PRId64 " looked at  %s\n",
            row->held ? "ok" : "BAD", row->name, row->examined, row->rule);
        if (row->held)
            continue;
        if (row->kinds[0])
            fprintf(out, "       %s\n", row->kinds);
        fprintf(out, "       such as: %s\n", row->worst);
        if (row->worst_id[0])
            print_story(row, out);
    }
    fprintf(out, "\n");
    for (uint32_t i = 0; i < report->figure_count; i++)
        fprintf(
            out, "  %-32s %14.6g\n", report->figures[i].name, report->figures[i].value);
    fprintf(out, "\n%s\n", report->held ? "Every check held." : "NOT every check held.");
}

enum mr_status
mr_chaos_summary(
    const struct mr_chaos_report *report, const char *folder, struct mr_err *err)
{
    char path[512];
    FILE *file;

    (void)snprintf(path, sizeof path, "%.400s/summary", folder);
    file = fopen(path, "w");
    if (!file)
        return mr_err_setf(err, MR_STORE_FULL, "cannot write the summary", NULL,
            "%.200s: %s", path, strerror(errno));
    fprintf(file, "held %d\n", report->held);
    for (uint32_t i = 0; i < report->count; i++)
        if (!report->rows[i].held)
            fprintf(file, "bad.%.*s 1\n", (int)strcspn(report->rows[i].name, " "),
                report->rows[i].name);
    for (uint32_t i = 0; i < report->figure_count; i++)
        fprintf(file, "%s %.17g\n", report->figures[i].name, report->figures[i].value);
    if (fclose(file) != 0)
        return mr_err_setf(err, MR_STORE_FULL, "cannot write the summary", NULL,
            "%.200s: %s", path, strerror(errno));
    return MR_OK;
}
