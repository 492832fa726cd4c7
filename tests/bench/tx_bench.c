/*
 * Transfers: two updates and a row of the ledger in one transaction. Eight executors that are
 * handed jobs, and wait for each statement (tx) or for none (tx-pipelined), against eight bare connections in a loop that do the same SQL, prepared, one round
 * trip a statement, and know nothing of jobs. Accounts are taken in the order of their ids, so
 * deadlocks cannot be; what fails to serialize is done again on both sides. After each run the
 * sum of all balances is what it was, and each job has exactly one row in the ledger.
 */
#include <libpq-fe.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/support/bench.h"
#include "tests/support/stream.h"

enum {
    JOBS = 20000,
    WARM_UP = 2000,
    IN_FLIGHT = 4096,
    ACCOUNTS = 100000,
    WORKERS = 2,
    THREADS = 4,
    CONNECTIONS = 8,
    CENTS = 1000000 /* in each account */
};

struct move {
    int64_t from, to, cents;
};

/* The same for both sides: any two accounts, the smaller id first. */
static struct move
move_of(uint32_t i)
{
    uint64_t x = (i + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    struct move move;

    x ^= x >> 29;
    move.from = (int64_t)(x % (ACCOUNTS - 1)) + 1;
    move.to = move.from + 1 + (int64_t)(x >> 32) % (ACCOUNTS - move.from);
    move.cents = (int64_t)(x >> 20) % 2000 - 1000;
    return move;
}

static void
put_args(struct millrace_pack *pack, uint32_t i)
{
    struct move move = move_of(i);

    millrace_pack_map(pack, 3);
    millrace_pack_str(pack, "from");
    millrace_pack_int(pack, move.from);
    millrace_pack_str(pack, "to");
    millrace_pack_int(pack, move.to);
    millrace_pack_str(pack, "cents");
    millrace_pack_int(pack, move.cents);
}

/* ---- The plain loop --------------------------------------------------------------------------- */

static const char add_sql[] = "update account set cents = cents + $1 where id = $2";
static const char book_sql[] = "insert into ledger values ($1, $2, $3, $4)";

static bool
is_done(PGresult *result, bool *is_to_repeat)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool is_good = PQresultStatus(result) == PGRES_COMMAND_OK;

    if (state && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0))
        *is_to_repeat = true;
    PQclear(result);
    return is_good;
}

static bool
add(PGconn *pg, int64_t account, int64_t cents, bool *is_to_repeat)
{
    char number[24], sum[24];
    const char *const params[] = {sum, number};

    snprintf(number, sizeof number, "%" PRId64, account);
    snprintf(sum, sizeof sum, "%" PRId64, cents);
    return is_done(PQexecPrepared(pg, "add", 2, params, NULL, NULL, 0), is_to_repeat);
}

static bool
book(PGconn *pg, const struct move *move, bool *is_to_repeat)
{
    char id[MR_UUID_TEXT_MAX], values[3][24];
    const char *const params[] = {id, values[0], values[1], values[2]};

    (void)mr_uuid_format(mr_uuid_new(mr_clock_now().wall_us), id);
    snprintf(values[0], sizeof values[0], "%" PRId64, move->from);
    snprintf(values[1], sizeof values[1], "%" PRId64, move->to);
    snprintf(values[2], sizeof values[2], "%" PRId64, move->cents);
    return is_done(PQexecPrepared(pg, "book", 4, params, NULL, NULL, 0), is_to_repeat);
}

/* Until it is committed. */
static bool
transfer(PGconn *pg, const struct move *move)
{
    bool is_to_repeat = true, is_good = false;

    while (is_to_repeat && !is_good) {
        is_to_repeat = false;
        is_good =
            is_done(PQexecPrepared(pg, "begin", 0, NULL, NULL, NULL, 0), &is_to_repeat) &&
            add(pg, move->from, -move->cents, &is_to_repeat) &&
            add(pg, move->to, move->cents, &is_to_repeat) &&
            book(pg, move, &is_to_repeat) &&
            is_done(PQexecPrepared(pg, "commit", 0, NULL, NULL, NULL, 0), &is_to_repeat);
        if (!is_good)
            PQclear(PQexec(pg, "rollback"));
    }
    return is_good;
}

static bool
prepare(PGconn *pg)
{
    static const char *const statements[][2] = {
        {"begin", "begin"}, {"add", add_sql}, {"book", book_sql}, {"commit", "commit"}};
    bool is_good = PQstatus(pg) == CONNECTION_OK, is_to_repeat = false;

    for (size_t i = 0; i < sizeof statements / sizeof *statements && is_good; i++)
        is_good = is_done(
            PQprepare(pg, statements[i][0], statements[i][1], 0, NULL), &is_to_repeat);
    return is_good;
}

/* Every CONNECTIONS-th transfer. */
static int
loop(const char *conninfo, uint32_t first, uint32_t jobs)
{
    PGconn *pg = PQconnectdb(conninfo);
    bool is_good = prepare(pg);

    for (uint32_t i = first; i < jobs && is_good; i += CONNECTIONS) {
        struct move move = move_of(i);

        is_good = transfer(pg, &move);
    }
    if (!is_good)
        fprintf(stderr, "%s", PQerrorMessage(pg));
    PQfinish(pg);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* In processes of their own; seconds. */
static double
run_plain(struct mr_bench *bench, uint32_t jobs)
{
    const char *conninfo = mr_cluster_conninfo(bench->stack.cluster);
    int64_t began_us = mr_bench_now_us();
    int status;

    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(loop(conninfo, i, jobs));
        if (pid < 0)
            mr_bench_fail(bench, "cannot fork", "");
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        if (wait(&status) < 0 || status != 0)
            mr_bench_fail(bench, "a connection failed", "see above");
    }
    return (double)(mr_bench_now_us() - began_us) / 1e6;
}

/* ---- Tables ----------------------------------------------------------------------------------- */

static void
run_sql(struct mr_bench *bench, const char *sql)
{
    struct mr_err err = {.why = ""};

    if (mr_pg_run(bench->pg, sql, 0, NULL, NULL, &err))
        mr_bench_fail(bench, sql, err.why);
}

static void
make_tables(struct mr_bench *bench)
{
    char sql[160];

    run_sql(bench, "create table account (id int primary key, cents bigint not null)");
    run_sql(bench,
        "create table ledger (job uuid not null, from_id int not null, to_id int "
        "not null, cents bigint not null)");
    snprintf(sql, sizeof sql,
        "insert into account select i, %d from generate_series(1, %d) i", CENTS,
        ACCOUNTS);
    run_sql(bench, sql);
}

/* As before each run. */
static void
reset(struct mr_bench *bench)
{
    run_sql(bench, "truncate ledger");
    run_sql(bench, "vacuum account");
    run_sql(bench, "checkpoint");
}

static void
expect(struct mr_bench *bench, const char *sql, int64_t wanted)
{
    char why[80];
    double got = mr_bench_number(bench, sql);

    snprintf(why, sizeof why, "is %.0f, not %" PRId64, got, wanted);
    if (got != (double)wanted)
        mr_bench_fail(bench, sql, why);
}

static void
check(struct mr_bench *bench, uint32_t jobs, bool has_jobs)
{
    expect(bench, "select sum(cents) from account", (int64_t)ACCOUNTS * CENTS);
    expect(bench, "select count(*) from ledger", jobs);
    expect(bench, "select count(distinct job) from ledger", jobs);
    if (!has_jobs)
        return;
    expect(bench, "select count(*) from ledger l join millrace.result r on r.id = l.job",
        jobs);
    mr_bench_check(bench, jobs, jobs);
}

/* ---- Both in turn ----------------------------------------------------------------------------- */

enum { RATE, LIMIT, RATIO, CPU, LIMIT_CPU, CPU_RATIO, FIGURES };

struct variant {
    const char *bench, *kind;
    struct mr_bench_figure figures[FIGURES + 1];
};

static struct variant variants[] = {
    {.bench = "tx", .kind = "bench.transfer"},
    {.bench = "tx-pipelined", .kind = "bench.transfer_queued"},
    {.bench = "tx-grouped", .kind = "bench.transfer_grouped"},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

struct measure {
    double jobs_per_s, cpu_s_per_100k;
};

/* NULL: the plain loop. */
static struct measure
measure(struct mr_bench *bench, const char *kind, uint32_t jobs)
{
    struct mr_stream stream = {
        .kind = kind, .put_args = put_args, .in_flight = mr_bench_in_flight(IN_FLIGHT)};
    double cpu_s, seconds;

    reset(bench);
    mr_bench_begin(bench);
    cpu_s = mr_bench_cpu_s();
    seconds = kind ? mr_stream_jobs(bench, &stream, jobs) : run_plain(bench, jobs);
    cpu_s = mr_bench_cpu_s() - cpu_s;
    check(bench, jobs, kind != NULL);
    return (struct measure){jobs / seconds, cpu_s * 100000 / jobs};
}

static void
run_all(struct mr_bench *bench, int run, uint32_t jobs)
{
    struct measure plain = measure(bench, NULL, jobs);

    for (int i = 0; i < VARIANTS; i++) {
        struct mr_bench_figure *figures = variants[i].figures;
        struct measure own = measure(bench, variants[i].kind, jobs);

        figures[RATE].runs[run] = own.jobs_per_s;
        figures[LIMIT].runs[run] = plain.jobs_per_s;
        figures[RATIO].runs[run] = own.jobs_per_s / plain.jobs_per_s;
        figures[CPU].runs[run] = own.cpu_s_per_100k;
        figures[LIMIT_CPU].runs[run] = plain.cpu_s_per_100k;
        figures[CPU_RATIO].runs[run] = plain.cpu_s_per_100k / own.cpu_s_per_100k;
    }
}

static void
name_figures(void)
{
    for (int i = 0; i < VARIANTS; i++) {
        variants[i].figures[RATE].name = "jobs_per_s";
        variants[i].figures[LIMIT].name = "limit_jobs_per_s";
        variants[i].figures[RATIO].name = "ratio";
        variants[i].figures[CPU].name = "cpu_s_per_100k";
        variants[i].figures[LIMIT_CPU].name = "limit_cpu_s_per_100k";
        variants[i].figures[CPU_RATIO].name = "cpu_ratio";
    }
}

int
main(void)
{
    static struct mr_bench bench;
    char kinds[4096], about[160];
    const char *flags[] = {"--load", kinds, NULL};
    uint32_t jobs = mr_bench_jobs(JOBS);

    mr_bench_open(&bench,
        &(struct mr_bench_setup){.threads = mr_bench_threads(THREADS), .worker = flags});
    snprintf(kinds, sizeof kinds, "%.*s/bench_tx.so",
        (int)(strrchr(mr_bench_kinds(), '/') - mr_bench_kinds()), mr_bench_kinds());
    for (int i = 0; i < mr_bench_workers(WORKERS); i++)
        mr_bench_start_worker(&bench, i);
    name_figures();
    make_tables(&bench);
    (void)measure(&bench, NULL, WARM_UP);
    for (int i = 0; i < VARIANTS; i++)
        (void)measure(&bench, variants[i].kind, WARM_UP);
    for (int run = 0; run < mr_bench_runs(); run++)
        run_all(&bench, run, jobs);
    snprintf(about, sizeof about,
        "\"limit\":\"plain loop\",\"jobs\":%u,\"executors\":%d,\"connections\":%d,"
        "\"accounts\":%d",
        jobs, mr_bench_workers(WORKERS) * mr_bench_threads(THREADS), CONNECTIONS,
        ACCOUNTS);
    for (int i = 0; i < VARIANTS; i++)
        mr_bench_print(&bench, variants[i].bench, about, variants[i].figures);
    return mr_bench_end(&bench);
}
