#include "tests/support/bench_limits.h"

#include <libpq-fe.h>

#include <endian.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"

/* The rows belong to no broker, or it would load them when it is started again. */
enum { ROW_MAX = 512, NO_SHARD = 1023 };

/* PostgreSQL counts microseconds from 2000. */
#define EPOCH_US INT64_C(946684800000000)

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
    static const char payload[MR_BENCH_PAYLOAD_BYTES];
    uint64_t at = htobe64((uint64_t)(now_us - EPOCH_US));
    uint32_t shard = htobe32(NO_SHARD);
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
    static const char body[MR_BENCH_RESULT_BYTES];
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

/* ---- One connection, in a thread of its own --------------------------------------------------- */

struct writer {
    pthread_t thread;
    const struct table *table;
    const struct mr_uuid *ids;
    uint32_t count;
    PGconn *pg;
    bool is_good;
};

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
copy_batch(const struct writer *writer, const struct mr_uuid *first, uint32_t count)
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* then flags and extension: zeros */
    static const char tail[2] = {'\377', '\377'};
    int64_t now_us = mr_clock_now().wall_us;
    PGconn *pg = writer->pg;
    struct row row;
    bool is_good = is_done(pg, PQexec(pg, writer->table->copy), PGRES_COPY_IN) &&
                   PQputCopyData(pg, head, sizeof head) == 1;

    for (uint32_t i = 0; i < count && is_good; i++) {
        writer->table->make(&row, &first[i], now_us);
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

static void *
copy_all(void *arg)
{
    struct writer *writer = arg;

    writer->is_good = true;
    for (uint32_t i = 0; i < writer->count && writer->is_good;) {
        uint32_t left = writer->count - i;
        uint32_t n = left < MR_BENCH_FLOOR_BATCH ? left : MR_BENCH_FLOOR_BATCH;

        writer->is_good = copy_batch(writer, &writer->ids[i], n);
        i += n;
    }
    return NULL;
}

static void
connect_to(struct mr_bench *bench, struct writer *writer)
{
    writer->pg = PQconnectdb(mr_cluster_conninfo(bench->stack.cluster));
    if (PQstatus(writer->pg) != CONNECTION_OK)
        mr_bench_fail(bench, "the floor cannot connect", PQerrorMessage(writer->pg));
}

double
mr_bench_floor(struct mr_bench *bench, enum mr_bench_half half, uint32_t jobs)
{
    struct mr_uuid *ids = calloc(jobs, sizeof *ids);
    struct writer writers[2];
    uint32_t n = 0;
    int64_t began_us;

    for (uint32_t i = 0; ids && i < jobs; i++)
        ids[i] = mr_uuid_new(mr_clock_now().wall_us);
    for (unsigned i = 0; i < 2; i++) {
        if (!((unsigned)half & 1u << i))
            continue;
        writers[n] = (struct writer){.table = &tables[i], .ids = ids, .count = jobs};
        connect_to(bench, &writers[n++]);
    }
    began_us = mr_bench_now_us();
    for (uint32_t i = 0; i < n; i++) {
        if (!ids || pthread_create(&writers[i].thread, NULL, copy_all, &writers[i]) != 0)
            mr_bench_fail(bench, "the floor cannot be measured", "no memory or thread");
    }
    for (uint32_t i = 0; i < n; i++)
        (void)pthread_join(writers[i].thread, NULL);
    began_us = mr_bench_now_us() - began_us;
    for (uint32_t i = 0; i < n; i++) {
        PQfinish(writers[i].pg);
        if (!writers[i].is_good)
            mr_bench_fail(bench, "a connection failed", "see above");
    }
    free(ids);
    return (double)jobs * 1e6 / (double)began_us;
}

/* ---- One commit at a time --------------------------------------------------------------------- */

static bool
insert_one(PGconn *pg)
{
    static const char payload[MR_BENCH_PAYLOAD_BYTES];
    static const int formats[] = {1, 1};
    static const int lengths[] = {sizeof(struct mr_uuid), sizeof payload};
    struct mr_uuid id = mr_uuid_new(mr_clock_now().wall_us);
    const char *const values[] = {(const char *)id.b, payload};

    return is_done(
        pg, PQexecPrepared(pg, "one", 2, values, lengths, formats, 0), PGRES_COMMAND_OK);
}

double
mr_bench_commits(struct mr_bench *bench, uint32_t commits, int64_t *took_us)
{
    static const char sql[] =
        "insert into millrace.job (id, submitted_at, shard, priority, queue, kind, "
        "payload)"
        " values ($1, now(), 1023, 4, 'default', 'bench.answer', $2)";
    struct writer writer = {.pg = NULL};
    int64_t began_us, last_us;
    bool is_good;

    connect_to(bench, &writer);
    is_good =
        is_done(writer.pg, PQprepare(writer.pg, "one", sql, 2, NULL), PGRES_COMMAND_OK);
    began_us = last_us = mr_bench_now_us();
    for (uint32_t i = 0; i < commits && is_good; i++) {
        int64_t now_us;

        is_good = insert_one(writer.pg);
        now_us = mr_bench_now_us();
        if (took_us)
            took_us[i] = now_us - last_us;
        last_us = now_us;
    }
    PQfinish(writer.pg);
    if (!is_good)
        mr_bench_fail(bench, "bare commits failed", "see above");
    return (double)commits * 1e6 / (double)(last_us - began_us);
}
