/*
 * What the database alone allows, to compare e2e with: two bare connections, one copies job rows,
 * the other result rows, in transactions of 4,000 rows in binary form. No broker, no worker.
 */
#include <libpq-fe.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/base/uuid.h"
#include "tests/support/bench.h"

enum {
    JOBS = 200000,
    BATCH = 4000,
    PAYLOAD_BYTES = 100,
    RESULT_BYTES = 32,
    ROW_MAX = 512
};

/* PostgreSQL counts microseconds from 2000. */
#define EPOCH_US INT64_C(946684800000000)

static struct mr_uuid ids[JOBS];

/* ---- Rows in the binary form of COPY ---------------------------------------------------------- */

struct row {
    char bytes[ROW_MAX];
    int n;
};

static void
put(struct row *row, const void *value, uint32_t n)
{
    uint32_t n_be = htobe32(n);

    memcpy(row->bytes + row->n, &n_be, sizeof n_be);
    memcpy(row->bytes + row->n + sizeof n_be, value, n);
    row->n += (int)(sizeof n_be + n);
}

static void
begin(struct row *row, uint16_t columns)
{
    uint16_t columns_be = htobe16(columns);

    memcpy(row->bytes, &columns_be, sizeof columns_be);
    row->n = sizeof columns_be;
}

static void
make_job(struct row *row, const struct mr_uuid *id, int64_t now_us)
{
    static const char payload[PAYLOAD_BYTES];
    uint64_t at = htobe64((uint64_t)(now_us - EPOCH_US));
    uint32_t shard = 0;
    uint16_t priority = htobe16(4);

    begin(row, 7);
    put(row, id->b, sizeof id->b);
    put(row, &at, sizeof at);
    put(row, &shard, sizeof shard);
    put(row, &priority, sizeof priority);
    put(row, "default", 7);
    put(row, "bench.answer", 12);
    put(row, payload, sizeof payload);
}

static void
make_result(struct row *row, const struct mr_uuid *id, int64_t now_us)
{
    static const char body[RESULT_BYTES];
    uint64_t at = htobe64((uint64_t)(now_us - EPOCH_US));
    uint32_t attempt = htobe32(1);
    uint16_t outcome = htobe16(1);

    begin(row, 7);
    put(row, id->b, sizeof id->b);
    put(row, &at, sizeof at);
    put(row, &at, sizeof at);
    put(row, &attempt, sizeof attempt);
    put(row, &outcome, sizeof outcome);
    put(row, "worker-1", 8);
    put(row, body, sizeof body);
}

struct table {
    const char *copy;
    void (*make)(struct row *row, const struct mr_uuid *id, int64_t now_us);
};

static const struct table tables[] = {
    {"copy millrace.job (id, submitted_at, shard, priority, queue, kind, payload)"
     " from stdin (format binary)",
        make_job},
    {"copy millrace.result (id, finished_at, started_at, attempt, outcome, worker, body)"
     " from stdin (format binary)",
        make_result},
};

/* ---- One connection --------------------------------------------------------------------------- */

static bool
is_done(PGconn *pg, PGresult *result, ExecStatusType wanted)
{
    bool is_good = PQresultStatus(result) == wanted;

    if (!is_good)
        fprintf(stderr, "%s", PQerrorMessage(pg));
    PQclear(result);
    return is_good;
}

/* A single COPY is a transaction of its own. */
static bool
copy_batch(PGconn *pg, const struct table *table, const struct mr_uuid *first)
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* then flags and extension: zeros */
    static const char tail[2] = {'\377', '\377'};
    int64_t now_us = mr_clock_now().wall_us;
    struct row row;
    bool is_good = is_done(pg, PQexec(pg, table->copy), PGRES_COPY_IN) &&
                   PQputCopyData(pg, head, sizeof head) == 1;

    for (int i = 0; i < BATCH && is_good; i++) {
        table->make(&row, &first[i], now_us);
        is_good = PQputCopyData(pg, row.bytes, row.n) == 1;
    }
    is_good = is_good && PQputCopyData(pg, tail, sizeof tail) == 1 &&
              PQputCopyEnd(pg, NULL) == 1 &&
              is_done(pg, PQgetResult(pg), PGRES_COMMAND_OK);
    while (is_good) {
        PGresult *rest = PQgetResult(pg);

        if (!rest)
            break;
        PQclear(rest);
    }
    return is_good;
}

static int
copy_all(const char *conninfo, const struct table *table)
{
    PGconn *pg = PQconnectdb(conninfo);
    bool is_good = PQstatus(pg) == CONNECTION_OK;

    for (int i = 0; i < JOBS && is_good; i += BATCH)
        is_good = copy_batch(pg, table, &ids[i]);
    PQfinish(pg);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Both at the same time, in processes of their own; seconds. */
static double
run(struct mr_bench *bench)
{
    const char *conninfo = mr_cluster_conninfo(bench->stack.cluster);
    int64_t began_us;
    int status;

    for (int i = 0; i < JOBS; i++)
        ids[i] = mr_uuid_new(mr_clock_now().wall_us);
    began_us = mr_bench_now_us();
    for (size_t i = 0; i < 2; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(copy_all(conninfo, &tables[i]));
        if (pid < 0)
            mr_bench_fail(bench, "cannot fork", "");
    }
    for (int i = 0; i < 2; i++) {
        if (wait(&status) < 0 || status != 0)
            mr_bench_fail(bench, "a connection failed", "see above");
    }
    return (double)(mr_bench_now_us() - began_us) / 1e6;
}

int
main(void)
{
    struct mr_bench_figure figures[] = {
        {.name = "jobs_per_s"}, {.name = "cpu_s_per_100k"}, {.name = NULL}};
    struct mr_bench bench;
    char about[128];

    mr_bench_open(&bench, false);
    for (int i = 0; i < MR_BENCH_RUNS; i++) {
        double cpu_s = mr_bench_cpu_s();

        figures[0].runs[i] = JOBS / run(&bench);
        figures[1].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / JOBS;
    }
    snprintf(about, sizeof about,
        "\"jobs\":%d,\"payload_bytes\":%d,\"result_bytes\":%d,\"batch\":%d", JOBS,
        PAYLOAD_BYTES, RESULT_BYTES, BATCH);
    mr_bench_print(&bench, "floor", about, figures);
    mr_bench_close(&bench);
    return EXIT_SUCCESS;
}
