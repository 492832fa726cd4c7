/*
 * What millrace is compared with, measured in the same run against the same PostgreSQL and host:
 * bare connections that write the same rows, one commit at a time, and ZeroMQ alone. Main thread
 * only; each ends the process with what went wrong if it cannot.
 */
#ifndef MR_SUPPORT_BENCH_LIMITS_H
#define MR_SUPPORT_BENCH_LIMITS_H

#include "tests/support/bench.h"

/* Rows of one transaction, by COPY in binary form. */
enum { MR_BENCH_FLOOR_BATCH = 4000 };
enum mr_bench_half { MR_BENCH_JOB = 1, MR_BENCH_RESULT = 2, MR_BENCH_BOTH = 3 };

/* Rows a second, of each table: one connection a table, in a thread of its own, at the same time;
 * nothing else. */
double mr_bench_floor(struct mr_bench *bench, enum mr_bench_half half, uint32_t jobs);

/* One connection, one row of `job`, prepared, one commit at a time. took_us: so many times, of one
 * each; NULL: not wanted. Commits a second. */
double mr_bench_commits(struct mr_bench *bench, uint32_t commits, int64_t *took_us);

/* Jobs a second through a ROUTER-ROUTER balancer: a client, the balancer and a worker, threads with
 * contexts of their own, over TCP. The messages are as long as those of millrace with so many jobs
 * in each, and as many; nobody looks into them and nothing is stored. */
double mr_bench_pump(struct mr_bench *bench, uint32_t batch, uint32_t jobs);

#endif
