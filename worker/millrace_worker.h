/*
 * How to write a job kind for millrace. Installed; the only header a kind needs.
 *
 * A kind is one descriptor and one function. Build the kinds into the worker (one file each in
 * worker/kinds/) or load them:
 *
 *     cc -shared -fPIC -o mine.so mine.c && millrace-worker --load ./mine.so
 *
 * A shared object exports  const struct millrace_kind *const millrace_kinds[]  (ended by NULL)
 * and  const int millrace_kinds_api = MILLRACE_KINDS_API.
 *
 * Threads: run() is called from several executor threads at a time; everything that takes a
 * `struct millrace_job *` may be called only from the run() that was given it. All strings
 * that come back live until run() returns.
 */
#ifndef MILLRACE_WORKER_H
#define MILLRACE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Seen across shared objects, however they are compiled. */
#pragma GCC visibility push(default)

#define MILLRACE_KINDS_API 3

struct millrace_job;  /* one attempt of one job, while run() has it */
struct millrace_host; /* the worker process, while prepare() has it */
struct pg_conn;       /* libpq's PGconn */

#define MILLRACE_NO_JITTER 255 /* where 0 means the default */

enum millrace_answer {
    MILLRACE_SUCCEEDED = 1,
    MILLRACE_FAILED = 2, /* tried again after the backoff, until attempts are used up */
    MILLRACE_FAILED_FOR_GOOD = 3, /* not tried again */
    MILLRACE_SNOOZED = 4,         /* come back later; no attempt is spent */
};

struct millrace_kind {
    const char *name; /* "area.verb", 1 to 64 printable characters without spaces */
    const char *help; /* one line: arguments -> result */
    enum millrace_answer (*run)(struct millrace_job *job);

    /* True: the handler's own SQL and the result row commit in one transaction. False: a
     * calculation; its result is committed together with others', and SQL that it runs is
     * rolled back. */
    bool is_transactional;

    uint32_t running_max;  /* at most so many at a time in one process; 0: no limit */
    uint32_t timeout_ms;   /* of one attempt; 0: the broker's default */
    uint32_t attempts_max; /* 0: the broker's default */
    /* After the n-th failure it waits base * (factor / 100)^(n - 1), at most the cap, then
     * jitter percent of that more or less by chance. 0 in any: the broker's default. A job's
     * own numbers go before these. */
    uint32_t backoff_base_ms, backoff_cap_ms;
    uint32_t backoff_factor_percent; /* 100 to 1000; 200: doubled each time */
    uint32_t backoff_jitter_percent; /* 1 to 100, or MILLRACE_NO_JITTER */

    /* True: run() is called in a child process of the worker, which is kept for the next jobs: a
     * crash, a leak or an endless loop costs that job alone. It is killed when the job has to
     * stop and does not, and may add `memory_mib_max` (0: what the worker's setting
     * isolate_memory_mib says) of memory in one job; then allocations fail. What run() keeps in
     * memory is not shared with other jobs. An operator may ask for it, or against it, with the
     * setting `isolate`. Costs some 70 us of processor time a job. Every descriptor that run() did
     * not open is the library's: leave it alone. */
    bool is_isolated;
    uint32_t memory_mib_max;

    /* Up to so many jobs of this kind (2 to 256; 0: one) share a transaction, where that many wait:
     * several times as fast, above all if run() queues its SQL (millrace_sql_later). run() is
     * called for one after the other and is not told; each job has its own result, and all are
     * committed at once or none. Whatever goes wrong with one of them (its answer, its SQL, a
     * cancel, a timeout, a lock that somebody else holds for half a second, a result that stands),
     * each of them is then run again alone: run() may be called once more than otherwise. A first
     * attempt only; later ones are alone. A job sees what those before it wrote, and rows stay
     * locked until the end of all: for kinds whose jobs seldom meet in a row. Transactional kinds
     * only, neither isolated nor with running_max. */
    uint32_t group_max;

    /* Called once per process before any run(), from the main thread (isolated kinds: in the
     * worker, to see whether the kind can be offered, and in each child); may be NULL. What it
     * makes is read-only afterwards. False: this kind is not offered; the reason (what, why,
     * what to do) goes into `why` and the worker logs it. */
    bool (*prepare)(const struct millrace_host *host, char *why, size_t why_bytes);
    /* Called once at a clean stop, after the last run(); may be NULL. */
    void (*dispose)(void);
};

/* What a shared object exports. */
extern const struct millrace_kind *const millrace_kinds[];
extern const int millrace_kinds_api;

/* A setting of the worker ("map", "pay_url", ...), NULL if it is not set. */
const char *millrace_host_setting(const struct millrace_host *host, const char *name);

/* ---- what was asked -------------------------------------------------------------------- */

const char *millrace_job_id(const struct millrace_job *job); /* 36 characters */
const char *millrace_job_kind(const struct millrace_job *job);
uint32_t millrace_job_attempt(const struct millrace_job *job); /* 1, 2, ... */
/* The arguments as they came, msgpack. */
const void *millrace_job_payload(const struct millrace_job *job, size_t *bytes);

/* By key of the arguments' map. False if the key is missing or of another type. */
bool millrace_arg_int(struct millrace_job *job, const char *key, int64_t *out);
bool millrace_arg_double(struct millrace_job *job, const char *key, double *out);
bool millrace_arg_bool(struct millrace_job *job, const char *key, bool *out);
/* Terminated copy in the job's arena; strings with a zero byte inside count as another type. */
bool millrace_arg_str(struct millrace_job *job, const char *key, const char **out);
/* An array of strings: NULL if missing or of another type, else *count terminated strings. */
const char *const *millrace_arg_strs(
    struct millrace_job *job, const char *key, uint32_t *count);
bool millrace_arg_is_given(struct millrace_job *job, const char *key);

/* ---- what came out --------------------------------------------------------------------- */

/* Write the result, one value, in msgpack's order: a map of 2 is put_map(2), then key, value,
 * key, value. At most 1 MiB; more, or an unfinished value, fails the attempt for good. Without
 * any put the result is nil. */
void millrace_put_map(struct millrace_job *job, uint32_t pairs);
void millrace_put_array(struct millrace_job *job, uint32_t items);
void millrace_put_str(struct millrace_job *job, const char *text);
void millrace_put_int(struct millrace_job *job, int64_t v);
void millrace_put_double(struct millrace_job *job, double v);
void millrace_put_bool(struct millrace_job *job, bool v);
void millrace_put_nil(struct millrace_job *job);
void millrace_put_bin(struct millrace_job *job, const void *p, size_t bytes);
void millrace_put_msgpack(struct millrace_job *job, const void *value, size_t bytes);

/* Each records the text (at most 2,000 bytes) and returns the answer to return. */
enum millrace_answer millrace_fail(struct millrace_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum millrace_answer millrace_fail_for_good(struct millrace_job *job, const char *format,
    ...) __attribute__((format(printf, 2, 3)));
/* Failed, and not to be tried again before so many milliseconds (an upstream's "retry after"). */
enum millrace_answer millrace_fail_retry_after(struct millrace_job *job, uint32_t ms,
    const char *format, ...) __attribute__((format(printf, 3, 4)));
enum millrace_answer millrace_snooze(struct millrace_job *job, uint32_t ms);

/* ---- while it runs --------------------------------------------------------------------- */

/* True once the job was cancelled, ran over its timeout, or the worker must stop: return soon,
 * with any answer. Cheap; ask it in loops. */
bool millrace_is_cancelled(const struct millrace_job *job);

/* Shown to those who wait and by `millrace show`; the newest one wins. */
void millrace_progress(struct millrace_job *job, uint32_t permille, const char *text);

/* Memory that is freed when run() returns. NULL when the job's arena (16 MiB) is used up. */
void *millrace_alloc(struct millrace_job *job, size_t bytes);

/* ---- the database, in the job's own transaction ------------------------------------------ */

/* The result of a statement; lives until run() returns. */
struct millrace_rows;

/* Run one statement with `count` text parameters ($1...; NULL is SQL null). The first call
 * opens the transaction. NULL on failure: return millrace_sql_failed(job), everything is
 * rolled back. One round trip to the database, whatever was queued before. */
struct millrace_rows *millrace_sql(
    struct millrace_job *job, const char *sql, int count, const char *const *params);

/* Queue one statement whose rows you do not need. It is sent with the next statement that you
 * wait for, or with the result and COMMIT, in the order of the calls: a transfer of two updates
 * and a row in the ledger is one round trip in all. Text and parameters are copied. (A queue of
 * 256 statements or 256 KiB is sent at once.)
 * If it fails the attempt fails as if you had returned millrace_sql_failed(job), and the reason
 * names it; a millrace_sql() with which it is sent returns NULL. False if it cannot be queued:
 * return millrace_sql_failed(job). Transactional kinds only. */
bool millrace_sql_later(
    struct millrace_job *job, const char *sql, int count, const char *const *params);

/* ... and it has to touch exactly so many rows (inserted, updated, deleted, selected), or the
 * attempt fails, whatever run() returns:
 *
 *     const struct millrace_expect one = {
 *         .rows = 1, .text = "the account is overdrawn", .for_good = true};
 *
 *     millrace_sql_expect(job, &one,
 *         "update account set cents = cents - $1 where id = $2 and cents >= $1", 2, params);
 *
 * A plain insert, update or delete (without RETURNING, WITH or a semicolon) costs no further
 * round trip, anything else costs one. */
struct millrace_expect {
    long rows;
    const char
        *text;     /* the reason, at most 500 bytes; NULL: one that names the statement */
    bool for_good; /* not tried again */
};
bool millrace_sql_expect(struct millrace_job *job, const struct millrace_expect *expect,
    const char *sql, int count, const char *const *params);

/* The answer for a failed statement: serialization failures, deadlocks and a lost connection
 * are tried again without spending the backoff, other errors fail as they are. */
enum millrace_answer millrace_sql_failed(struct millrace_job *job);
/* SQLSTATE of the last failed statement ("23505"), "" if none failed. */
const char *millrace_sqlstate(const struct millrace_job *job);

int millrace_rows_count(const struct millrace_rows *rows);
/* Rows that an insert, update or delete touched. */
long millrace_rows_affected(const struct millrace_rows *rows);
/* NULL for SQL null or outside the table. */
const char *millrace_rows_text(const struct millrace_rows *rows, int row, int column);
/* 0 for SQL null. */
int64_t millrace_rows_int(const struct millrace_rows *rows, int row, int column);

/* The connection itself, its transaction open and nothing queued, for those who link libpq.
 * Never commit, roll back or close it. NULL on failure. The session serves other jobs afterwards: change settings
 * with SET LOCAL only, here and in millrace_sql. */
struct pg_conn *millrace_pg(struct millrace_job *job);

/* ---- follow-up jobs, in the same transaction --------------------------------------------- */

struct millrace_follow_up {
    const char *kind;
    const char *queue;   /* NULL: "default" */
    const void *payload; /* msgpack; NULL: nil */
    size_t payload_bytes;
    uint8_t priority; /* 0..9; set MILLRACE_PRIORITY_DEFAULT */
    const char *lane; /* NULL: none */
    uint32_t delay_ms;
    uint32_t timeout_ms;
    uint32_t attempts_max;
    /* As in struct millrace_kind; 0: what the kind says. */
    uint32_t backoff_base_ms, backoff_cap_ms;
    uint32_t backoff_factor_percent, backoff_jitter_percent;
};
#define MILLRACE_PRIORITY_DEFAULT 4

/* Submit a job that exists if and only if this attempt commits. Its id is derived from this
 * job's id and `label` (unique within this job), so that a second attempt makes the same one;
 * 37 bytes of text into id_out unless that is NULL. It is queued, as by millrace_sql_later().
 * False on failure: return millrace_sql_failed(job). Transactional kinds only. */
bool millrace_submit(struct millrace_job *job, const char *label,
    const struct millrace_follow_up *follow_up, char *id_out);

/* Small msgpack values for follow-ups' payloads: "{s:s, s:i}"-like building is left to these.
 * The builder lives in the job's arena. */
struct millrace_pack;
struct millrace_pack *millrace_pack_new(struct millrace_job *job);
void millrace_pack_map(struct millrace_pack *pack, uint32_t pairs);
void millrace_pack_array(struct millrace_pack *pack, uint32_t items);
void millrace_pack_str(struct millrace_pack *pack, const char *text);
void millrace_pack_int(struct millrace_pack *pack, int64_t v);
/* NULL if what was written is too large or not a whole value. */
const void *millrace_pack_bytes(struct millrace_pack *pack, size_t *bytes);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
