#include "schemas/sql/stmt.h"

#include <limits.h>

#include <libpq-fe.h>

#include "schemas/sql/pg_priv.h"

#define TYPES_MAX MR_ARGS_MAX
#define ARRAY_OF(type) ((unsigned)MR_BIN_ARRAY | (unsigned)(type))

/* What mr_stored_job is filled from, in this order, and how its attempts are summed up. */
#define STORED_JOB                                                                       \
    "j.id, j.queue, j.kind, j.priority, j.lane, j.run_at, j.expires_at, j.timeout_ms, "  \
    "j.attempts_max, j.backoff_base_ms, j.backoff_cap_ms, j.backoff_factor_percent, "    \
    "j.backoff_jitter_percent, j.trace, j.submitted_by, j.submitted_at"
#define ATTEMPT_SUMS                                                                     \
    "left join lateral (select max(attempt) as attempts, "                               \
    "count(*) filter (where outcome in (1, 3)) as failures, "                            \
    "count(*) filter (where outcome in (2, 5) and started_at is not null) as losses, "   \
    "count(*) filter (where outcome = 2 and started_at is null) as near_losses, "        \
    "(array_agg(retry_at order by attempt desc))[1] as retry_at "                        \
    "from millrace.attempt where attempt.id = j.id) a on true "
#define STORED_ATTEMPTS                                                                  \
    "a.attempts, a.failures, a.losses, a.near_losses, a.retry_at from millrace.job "     \
    "j " ATTEMPT_SUMS
#define UNFINISHED "not exists (select from millrace.result r where r.id = j.id) "

/* "offset 0" keeps the planner from making one large join of it: these run in workers' sessions,
 * too, where statistics may be those of an empty table. Each id is one look into an index. */
#define ONE_BY_ONE                                                                       \
    "left join lateral (select id, submitted_by, queue, kind from millrace.job "         \
    "where job.id = o.id offset 0) j "                                                   \
    "on true left join lateral (select * from millrace.result "                          \
    "where result.id = o.id offset 0) r on true"
#define ONE_BY_ONE_JOB                                                                   \
    "left join lateral (select id, queue, kind, payload, submitted_by "                  \
    "from millrace.job where job.id = o.id offset 0) j on true left join lateral "       \
    "(select * from millrace.result where result.id = o.id offset 0) r on true"

/* What `millrace.redriven_as` says, without the cost of a call for each row. */
#define REDRIVEN_AS(id)                                                                  \
    "coalesce((select (array_agg(n.id order by n.id desc))[1] from millrace.job n "      \
    "where n.redrive_of = " id "), (select (array_agg(n.id order by n.id desc))[1] "     \
    "from millrace.inbox n where n.redrive_of = " id "))"

#define JOB_COLUMNS                                                                      \
    "id, submitted_at, shard, priority, queue, kind, lane, run_at, expires_at, "         \
    "timeout_ms, attempts_max, backoff_base_ms, backoff_cap_ms, "                        \
    "backoff_factor_percent, backoff_jitter_percent, submitted_by, trace, payload, "     \
    "redrive_of"

struct row {
    const char *name, *what, *text;
    enum mr_stmt_set set;
    unsigned types[TYPES_MAX]; /* 0 ends them */
};

static const struct row rows[MR_STMT_COUNT] = {
    [MR_STMT_BEGIN] = {"mr_begin", "begin", "begin", MR_STMT_BOTH, {0}},
    [MR_STMT_COMMIT] = {"mr_commit", "commit", "commit", MR_STMT_BOTH, {0}},
    /* A batch that finds everything stored already writes nothing else; a COMMIT would then
     * flush nothing, and "already there" would be less durable than "stored". */
    [MR_STMT_FLUSH] = {"mr_flush", "write a WAL record",
        "select pg_logical_emit_message(true, 'millrace', '')", MR_STMT_BOTH, {0}},
    /* Bodies are left out once their sum exceeds $3; the caller asks again for those. */
    [MR_STMT_FIND] = {"mr_find", "look jobs up",
        "select f.n, f.is_job, f.outcome, f.attempt, f.finished_at, f.error, "
        "case when f.total <= $3 then f.body end, "
        "f.body is not null and f.total > $3, f.worker, f.losses, f.submitted_by, "
        "f.queue, f.kind "
        "from (select o.n, j.id is not null as is_job, j.submitted_by, j.queue, j.kind, "
        "r.outcome, "
        "r.attempt, "
        "r.finished_at, "
        "r.error, r.body, r.worker, "
        "case when r.id is null then (select string_agg('attempt ' || attempt || ' ' || "
        "millrace.attempt_word(outcome) || coalesce(' on ' || worker, ''), ', ' "
        "order by attempt) from millrace.attempt where attempt.id = o.id "
        "and outcome in (2, 5) and started_at is not null) end as losses, "
        "sum(octet_length(r.body)) over (order by o.n) as total "
        "from unnest($1, $2) o (n, id) " ONE_BY_ONE ") f order by f.n",
        MR_STMT_BOTH, {ARRAY_OF(MR_BIN_INT4), ARRAY_OF(MR_BIN_UUID), MR_BIN_INT8}},

    [MR_STMT_FENCE] = {"mr_fence", "check the epoch", "select millrace.fence($1, $2)",
        MR_STMT_STORE, {MR_BIN_INT4, MR_BIN_INT8}},
    [MR_STMT_ADD_JOBS] = {"mr_add_jobs", "store jobs",
        "insert into millrace.job (" JOB_COLUMNS
        ") select * from unnest($1, $2, $3, $4, $5, "
        "$6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) "
        "on conflict do nothing returning id",
        MR_STMT_STORE,
        {ARRAY_OF(MR_BIN_UUID), ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_INT4),
            ARRAY_OF(MR_BIN_INT2), ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT),
            ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TIME),
            ARRAY_OF(MR_BIN_INT8), ARRAY_OF(MR_BIN_INT4), ARRAY_OF(MR_BIN_INT8),
            ARRAY_OF(MR_BIN_INT8), ARRAY_OF(MR_BIN_INT2), ARRAY_OF(MR_BIN_INT2),
            ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_BYTEA),
            ARRAY_OF(MR_BIN_UUID)}},
    [MR_STMT_ADD_ATTEMPTS] = {"mr_add_attempts", "store attempts",
        "insert into millrace.attempt (id, attempt, outcome, started_at, finished_at, "
        "retry_at, worker, error) select * from unnest($1, $2, $3, $4, $5, $6, $7, $8) "
        "on conflict do nothing",
        MR_STMT_STORE,
        {ARRAY_OF(MR_BIN_UUID), ARRAY_OF(MR_BIN_INT4), ARRAY_OF(MR_BIN_INT2),
            ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TIME),
            ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT)}},
    [MR_STMT_ADD_RESULTS] = {"mr_add_results", "store results",
        "insert into millrace.result (id, attempt, outcome, started_at, finished_at, "
        "worker, "
        "error, reason) select id, attempt, outcome, started_at, "
        "coalesce(finished_at, clock_timestamp()), worker, error, reason "
        "from unnest($1, $2, $3, $4, $5, $6, $7, $8) o (id, attempt, outcome, "
        "started_at, "
        "finished_at, worker, error, reason) on conflict do nothing returning id",
        MR_STMT_STORE,
        {ARRAY_OF(MR_BIN_UUID), ARRAY_OF(MR_BIN_INT4), ARRAY_OF(MR_BIN_INT2),
            ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TEXT),
            ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_INT2)}},
    [MR_STMT_LOWER] = {"mr_lower", "lower the low-water mark",
        "update millrace.shard set low_water = millrace.id_floor($2) "
        "where shard = $1 and low_water > $2",
        MR_STMT_STORE, {MR_BIN_INT4, MR_BIN_UUID}},
    [MR_STMT_JUDGE_JOBS] = {"mr_judge_jobs", "compare jobs with those that are stored",
        "select f.n, f.is_job, f.outcome, f.attempt, f.finished_at, f.error, "
        "case when f.total <= $7 then f.body end, "
        "f.body is not null and f.total > $7, f.same "
        "from (select o.n, j.id is not null as is_job, "
        "j.queue = o.queue and j.kind = o.kind and j.payload is not distinct from "
        "o.payload and j.submitted_by is not distinct from o.submitted_by "
        "as same, r.outcome, r.attempt, r.finished_at, r.error, r.body, "
        "sum(octet_length(r.body)) over (order by o.n) as total "
        "from unnest($1, $2, $3, $4, $5, $6) o (n, id, queue, kind, payload, "
        "submitted_by) " ONE_BY_ONE_JOB ") f order by f.n",
        MR_STMT_STORE,
        {ARRAY_OF(MR_BIN_INT4), ARRAY_OF(MR_BIN_UUID), ARRAY_OF(MR_BIN_TEXT),
            ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_BYTEA), ARRAY_OF(MR_BIN_TEXT),
            MR_BIN_INT8}},
    [MR_STMT_END_SESSIONS] = {"mr_end_sessions", "end the sessions of a lost worker",
        "select millrace.end_sessions($1) + (select count(pg_terminate_backend(pid, "
        "2000)) from pg_stat_activity where application_name = any ($1) "
        "and usename = current_user and pid <> pg_backend_pid())",
        MR_STMT_STORE, {ARRAY_OF(MR_BIN_TEXT)}},
    /* So many ids at a time, finished or not: what one call reads is bounded whatever lies
     * between two unfinished jobs. The last two columns say how far it went. */
    [MR_STMT_LOAD] = {"mr_load", "load unfinished jobs",
        "with few as materialized (select id from millrace.job where id > $2 and "
        "id >= $5 order by id limit $3), "
        "went as materialized (select count(*) as n, "
        "(array_agg(id order by id desc))[1] as last from few) "
        "select " STORED_JOB ", case when $4 then j.payload end, a.attempts, a.failures, "
        "a.losses, a.near_losses, a.retry_at, went.n, went.last, octet_length(j.payload) "
        "from went left join (few "
        "join lateral "
        "(select * from millrace.job j where j.id = few.id and j.shard = $1 "
        "and " UNFINISHED "offset 0) j on true) on true " ATTEMPT_SUMS "order by j.id",
        MR_STMT_STORE, {MR_BIN_INT4, MR_BIN_UUID, MR_BIN_INT8, MR_BIN_BOOL, MR_BIN_UUID}},
    [MR_STMT_READ] = {"mr_read", "read jobs back",
        "select " STORED_JOB ", j.payload, " STORED_ATTEMPTS
        "where j.id = any ($1) and " UNFINISHED,
        MR_STMT_STORE, {ARRAY_OF(MR_BIN_UUID)}},
    [MR_STMT_READ_PAYLOADS] = {"mr_read_payloads", "read payloads back",
        "select j.id, j.trace, j.payload from millrace.job j "
        "where j.id = any ($1) and " UNFINISHED,
        MR_STMT_STORE, {ARRAY_OF(MR_BIN_UUID)}},
    [MR_STMT_TAKE_INBOX] = {"mr_take_inbox", "take jobs from the inbox",
        "with few as materialized (select id from (select id, "
        "sum(octet_length(payload)) over (order by id) as total "
        "from (select id, payload from millrace.inbox where id < $3 order by id limit "
        "$2) x) y "
        "where total is null or total <= $4), "
        "held as materialized (select i.id from millrace.inbox i join few on few.id = "
        "i.id "
        "for update of i skip locked), "
        "taken as (delete from millrace.inbox i using held where i.id = held.id "
        "returning i.*), "
        "fresh as (insert into millrace.job (" JOB_COLUMNS
        ") select id, submitted_at, $1, "
        "priority, queue, kind, lane, run_at, expires_at, timeout_ms, attempts_max, "
        "backoff_base_ms, backoff_cap_ms, backoff_factor_percent, "
        "backoff_jitter_percent, submitted_by, trace, payload, redrive_of from taken "
        "on conflict do nothing returning *), "
        "first as (select id from fresh order by id limit 1), "
        "lowered as (update millrace.shard s set low_water = millrace.id_floor(first.id) "
        "from first where s.shard = $1 and s.low_water > first.id) "
        "select " STORED_JOB
        ", j.payload, null::integer, null::bigint, null::bigint, null::bigint, "
        "null::timestamptz, c.n from (select count(*) as n from taken) c "
        "left join fresh j on true order by j.id",
        MR_STMT_STORE, {MR_BIN_INT4, MR_BIN_INT8, MR_BIN_UUID, MR_BIN_INT8}},
    /* Waits until whoever moves these rows is done with it, one way or the other. */
    [MR_STMT_AWAIT_INBOX] = {"mr_await_inbox", "wait for the inbox",
        "select id from millrace.inbox where id = any ($1) order by id for update",
        MR_STMT_STORE, {ARRAY_OF(MR_BIN_UUID)}},
    [MR_STMT_RENEW] = {"mr_renew", "renew the lease",
        "update millrace.shard set lease_until = clock_timestamp() "
        "+ $3 * interval '1 millisecond' where shard = $1 and epoch = $2 "
        "returning epoch, (select version from millrace.rights)",
        MR_STMT_STORE, {MR_BIN_INT4, MR_BIN_INT8, MR_BIN_INT8}},
    /* Ids below the cap may still come; whoever stores one lowers the mark again. The inbox
     * counts, too: follow-up jobs carry the time of the job that they follow. At most $3 ids
     * are looked at. */
    [MR_STMT_RAISE] = {"mr_raise", "raise the low-water mark",
        "with cap as (select millrace.id_floor(clock_timestamp() - interval '10 "
        "minutes') as id), "
        "few as materialized (select j.id, j.shard from millrace.job j where j.id >= "
        "(select low_water from millrace.shard where shard = $1) "
        "and j.id < (select id from cap) order by j.id limit $3), "
        "went as (select count(*) = $3 as is_full, "
        "(array_agg(id order by id desc))[1] as last from few) "
        "update millrace.shard s set low_water = greatest(s.low_water, least(cap.id, "
        "(select j.id from few j where j.shard = $1 and " UNFINISHED
        "order by j.id limit "
        "1), case when went.is_full then went.last end, "
        "(select millrace.id_floor(i.id) from millrace.inbox i order by i.id limit 1))) "
        "from cap, went where s.shard = $1 and s.epoch = $2 returning s.low_water, "
        "went.is_full and s.low_water = went.last",
        MR_STMT_STORE, {MR_BIN_INT4, MR_BIN_INT8, MR_BIN_INT8}},
    [MR_STMT_LIST] = {"mr_list", "list jobs",
        "select v.id, v.kind, v.queue, v.state, v.priority, v.attempts, v.submitted_at, "
        "v.run_at, v.finished_at, v.error from millrace.jobs v "
        "where ($1::text is null or v.state = $1) and ($2::text is null or v.kind = $2) "
        "and ($3::text is null or v.queue = $3) "
        "and ($4::timestamptz is null or v.submitted_at >= $4) "
        "and ($5::timestamptz is null or v.submitted_at < $5) "
        "and ($7::text is null or v.submitted_by = $7) order by v.id desc limit $6",
        MR_STMT_STORE,
        {MR_BIN_TEXT, MR_BIN_TEXT, MR_BIN_TEXT, MR_BIN_TIME, MR_BIN_TIME, MR_BIN_INT8,
            MR_BIN_TEXT}},
    [MR_STMT_SHOW] = {"mr_show", "show a job",
        "select v.id, v.kind, v.queue, v.state, v.priority, v.attempts, v.submitted_at, "
        "v.run_at, v.finished_at, v.error, v.retry_at, v.expires_at, v.lane, "
        "v.started_at, "
        "v.worker, j.timeout_ms, j.attempts_max, j.backoff_base_ms, j.backoff_cap_ms, "
        "j.backoff_factor_percent, j.backoff_jitter_percent, "
        "v.submitted_by, v.trace, v.shard, j.redrive_of, millrace.redriven_as($1), "
        "case when r.outcome = 2 then millrace.reason_word(r.reason, r.error) end, "
        "j.payload, r.body from millrace.jobs v "
        "join millrace.job j on j.id = $1 left join millrace.result r on r.id = $1 "
        "where v.id = $1 and ($2::text is null or j.submitted_by = $2)",
        MR_STMT_STORE, {MR_BIN_UUID, MR_BIN_TEXT}},
    [MR_STMT_SHOW_ATTEMPTS] = {"mr_show_attempts", "show the attempts of a job",
        "select attempt, millrace.attempt_word(outcome), worker, started_at, "
        "finished_at, "
        "retry_at, error from millrace.attempt where id = $1 order by attempt",
        MR_STMT_STORE, {MR_BIN_UUID}},
    /* A bounded number of dead jobs is looked at, whatever the filter lets through: a page takes
     * its time, never more. Columns of those that it does not let through are null. */
    [MR_STMT_DEAD] = {"mr_dead", "list dead jobs",
        "select d.id, j.kind, j.queue, d.finished_at, d.attempt, d.reason, "
        "case when j.id is not null then d.error end, j.redriven_as, j.redrive_of, "
        "j.priority, j.lane, j.submitted_at, coalesce(d.worker, j.worker) "
        "from (select r.id, r.finished_at, r.attempt, r.error, r.worker, "
        "millrace.reason_word(r.reason, r.error) as reason from millrace.result r "
        "where r.outcome = 2 and r.finished_at >= $1 and (r.finished_at, r.id) < ($2, "
        "$3) "
        "order by r.finished_at desc, r.id desc limit $4) d "
        "left join lateral (select j.id, j.kind, j.queue, j.redrive_of, j.priority, "
        "j.lane, j.submitted_at, " REDRIVEN_AS(
            "j.id") " as redriven_as, "
                    "(select a.worker from millrace.attempt a where a.id = d.id "
                    "and a.attempt = d.attempt) as worker "
                    "from millrace.job j where j.id = d.id "
                    "and ($5::text is null or j.kind = $5) and ($6::text is null or "
                    "j.queue = $6) "
                    "and ($7::text is null or d.reason = $7) "
                    "and ($9::text is null or j.submitted_by = $9) offset 0) j "
                    "on $8 or j.redriven_as is null order by d.finished_at desc, d.id "
                    "desc",
        MR_STMT_STORE,
        {MR_BIN_TIME, MR_BIN_TIME, MR_BIN_UUID, MR_BIN_INT8, MR_BIN_TEXT, MR_BIN_TEXT,
            MR_BIN_TEXT, MR_BIN_BOOL, MR_BIN_TEXT}},
    /* One at a time, whichever broker it is asked of: who waited sees what the other one did. */
    [MR_STMT_REDRIVE_ALONE] = {"mr_redrive_alone", "redrive jobs",
        "select pg_advisory_xact_lock(28018, 2)", MR_STMT_STORE, {0}},
    /* The new ids are of now, and ascend in the order that was asked for: a lane keeps it.
     * Payloads above $3 bytes in all are left for another time, sealed ones (as mr_seal_is_sealed) for
     * who can seal them under another id: $4 and $5, for the case of one job. Who owned the dead
     * job owns the new one; another one's than $2's (null: whoever's) is not there. */
    [MR_STMT_REDRIVE] = {"mr_redrive", "redrive jobs",
        "with asked as materialized (select o.n, o.id, t.is_theirs as is_job, "
        "coalesce(substring(j.payload for 1) in ('\\xc7', '\\xc8', '\\xc9'), false) "
        "as is_sealed, case when t.is_theirs then r.outcome end as outcome, "
        "case when t.is_theirs then " REDRIVEN_AS(
            "o.id") " end as known, "
                    "sum(octet_length(j.payload)) filter (where t.is_theirs) "
                    "over (order by o.n) as bytes "
                    "from (select min(u.n) as n, u.id from unnest($1) with ordinality u "
                    "(id, n) "
                    "group by u.id) o " ONE_BY_ONE_JOB " cross join lateral (select "
                    "j.id is not null and ($2::text is null or j.submitted_by is not "
                    "distinct from $2) as is_theirs) t), "
                    "stamp as materialized (select "
                    "substring(uuid_send(millrace.new_id()) from 1 for "
                    "6) as ms), "
                    "fresh as (insert into millrace.inbox (id, kind, queue, payload, "
                    "priority, lane, "
                    "timeout_ms, attempts_max, backoff_base_ms, backoff_cap_ms, "
                    "backoff_factor_percent, backoff_jitter_percent, submitted_by, "
                    "trace, "
                    "redrive_of) select case when a.is_sealed then $4 else "
                    "encode(overlay(uuid_send(millrace.new_id()) "
                    "placing "
                    "s.ms || int2send((28672 + a.n)::smallint) from 1 for 8), "
                    "'hex')::uuid end, "
                    "j.kind, j.queue, case when a.is_sealed then $5 else j.payload end, "
                    "j.priority, j.lane, j.timeout_ms, "
                    "j.attempts_max, "
                    "j.backoff_base_ms, j.backoff_cap_ms, j.backoff_factor_percent, "
                    "j.backoff_jitter_percent, j.submitted_by, j.trace, j.id "
                    "from asked a join millrace.job j on j.id = a.id cross join stamp s "
                    "where a.outcome = 2 and a.known is null and coalesce(a.bytes, 0) <= "
                    "$3 and (not a.is_sealed or ($5 is not null and not exists "
                    "(select from millrace.job x where x.id = $4))) "
                    "order by a.n returning id, redrive_of) "
                    "select a.id, a.is_job, a.outcome, a.known, f.id, a.is_sealed "
                    "from asked a "
                    "left join fresh f on f.redrive_of = a.id order by a.n",
        MR_STMT_STORE,
        {ARRAY_OF(MR_BIN_UUID), MR_BIN_TEXT, MR_BIN_INT8, MR_BIN_UUID, MR_BIN_BYTEA}},
    /* Everything that the database can say about why a job does not run. */
    [MR_STMT_WHY] = {"mr_why", "look a job up",
        "select j.shard, r.outcome, r.attempt, r.finished_at, "
        "millrace.reason_word(r.reason, r.error), r.error, a.attempt, a.error, "
        "millrace.redriven_as(o.id), "
        "exists (select from millrace.inbox i where i.id = o.id) "
        "from (select case when $2::text is null or exists (select from millrace.job "
        "where id = $1 and submitted_by = $2) or exists (select from millrace.inbox "
        "where id = $1 and submitted_by = $2) then $1::uuid end as id) o "
        "left join millrace.job j on j.id = o.id "
        "left join millrace.result r on r.id = o.id "
        "left join lateral (select attempt, error from millrace.attempt a "
        "where a.id = o.id order by attempt desc limit 1) a on true",
        MR_STMT_STORE, {MR_BIN_UUID, MR_BIN_TEXT}},
    [MR_STMT_PAUSE] = {"mr_pause", "pause or resume a queue",
        "insert into millrace.queue (name, paused) values ($1, $2) on conflict (name) "
        "do update set paused = excluded.paused, changed_at = excluded.changed_at",
        MR_STMT_STORE, {MR_BIN_TEXT, MR_BIN_BOOL}},
    /* The chain is in the order of the rows. */
    [MR_STMT_AUDIT] = {"mr_audit", "write the audit log",
        "select count(millrace.audit_add(o.action, o.object, o.decision, o.principal, "
        "o.key, o.count, o.detail, o.source, $10, $11, o.at)) from (select * from "
        "unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) with ordinality u (at, principal, "
        "key, action, object, decision, count, detail, source, n) order by n offset 0) o",
        MR_STMT_STORE,
        {ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT),
            ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT),
            ARRAY_OF(MR_BIN_INT8), ARRAY_OF(MR_BIN_TEXT), ARRAY_OF(MR_BIN_TEXT),
            MR_BIN_INT4, MR_BIN_INT8}},

    [MR_STMT_FINISH] = {"mr_finish", "store the result",
        "with written as (insert into millrace.result (id, outcome, attempt, worker, "
        "started_at, finished_at, body) select $1, 1, $2, $3, $4, "
        "coalesce($5, clock_timestamp()), $6 "
        "where exists (select from millrace.job j where j.id = $1 offset 0) "
        "on conflict do nothing returning 1) "
        "select case when count(*) = 0 then millrace.refuse_finish($1) end from written",
        MR_STMT_WORKER,
        {MR_BIN_UUID, MR_BIN_INT4, MR_BIN_TEXT, MR_BIN_TIME, MR_BIN_TIME, MR_BIN_BYTEA}},
    [MR_STMT_FINISH_GROUP] = {"mr_finish_group", "store the results of a group",
        "select millrace.finish_group($1, $2, $3, $4, $5, $6)", MR_STMT_WORKER,
        {ARRAY_OF(MR_BIN_UUID), ARRAY_OF(MR_BIN_INT4), MR_BIN_TEXT, ARRAY_OF(MR_BIN_TIME),
            ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_BYTEA)}},
    [MR_STMT_IMPATIENT] = {"mr_impatient", "limit a wait",
        "select set_config('lock_timeout', '500ms', true)", MR_STMT_WORKER, {0}},
    [MR_STMT_INBOX_PUT] = {"mr_inbox_put", "submit a follow-up job",
        "insert into millrace.inbox (id, kind, queue, payload, priority, lane, run_at, "
        "expires_at, timeout_ms, attempts_max, backoff_base_ms, backoff_cap_ms, "
        "backoff_factor_percent, backoff_jitter_percent, submitted_by, trace) "
        "values ($1, $2, $3, $4, $5, $6, "
        "coalesce($7, clock_timestamp() + $17 * interval '1 millisecond'), $8, $9, $10, "
        "$11, $12, $13, $14, (select j.submitted_by from millrace.job j where "
        "j.id = $15), $16) on conflict do nothing",
        MR_STMT_WORKER,
        {MR_BIN_UUID, MR_BIN_TEXT, MR_BIN_TEXT, MR_BIN_BYTEA, MR_BIN_INT2, MR_BIN_TEXT,
            MR_BIN_TIME, MR_BIN_TIME, MR_BIN_INT8, MR_BIN_INT4, MR_BIN_INT8, MR_BIN_INT8,
            MR_BIN_INT2, MR_BIN_INT2, MR_BIN_UUID, MR_BIN_TEXT, MR_BIN_INT8}},
    [MR_STMT_FINISH_MANY] = {"mr_finish_many", "store results",
        "insert into millrace.result (id, outcome, attempt, worker, started_at, "
        "finished_at, "
        "body) select o.id, 1, attempt, worker, started_at, "
        "coalesce(finished_at, clock_timestamp()), body "
        "from unnest($1, $2, $3, $4, $5, $6) "
        "o (id, attempt, worker, started_at, finished_at, body) "
        "where exists (select from millrace.job j where j.id = o.id offset 0) "
        "order by o.id on conflict do nothing returning id",
        MR_STMT_BATCH,
        {ARRAY_OF(MR_BIN_UUID), ARRAY_OF(MR_BIN_INT4), ARRAY_OF(MR_BIN_TEXT),
            ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_TIME), ARRAY_OF(MR_BIN_BYTEA)}},
    [MR_STMT_IS_JOB] = {"mr_is_job", "look a job up",
        "select from millrace.job where id = $1", MR_STMT_BATCH, {MR_BIN_UUID}},
};

static const struct {
    const char *what, *text;
} copies[] = {
    [MR_STMT_COPY_JOBS] = {"store jobs by COPY",
        "copy millrace.job (" JOB_COLUMNS ") from stdin (format binary)"},
    [MR_STMT_COPY_RESULTS] = {"store results by COPY",
        "copy millrace.result (id, outcome, attempt, worker, started_at, finished_at, "
        "body) from stdin (format binary)"},
};

static Oid
type_of(unsigned type)
{
    static const struct {
        unsigned element;
        Oid array;
    } arrays[] = {
        {MR_BIN_BYTEA, 1001},
        {MR_BIN_INT2, 1005},
        {MR_BIN_INT4, 1007},
        {MR_BIN_INT8, 1016},
        {MR_BIN_TEXT, 1009},
        {MR_BIN_TIME, 1185},
        {MR_BIN_UUID, 2951},
    };

    if ((type & MR_BIN_ARRAY) == 0)
        return type;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (arrays[i].element == (type & ~(unsigned)MR_BIN_ARRAY))
            return arrays[i].array;
    }
    MR_ASSERT(type == 0); /* an array type that is not in the table above */
    return 0;
}

static int
types_of(const struct row *row, Oid types[TYPES_MAX])
{
    int count = 0;

    for (; count < TYPES_MAX && row->types[count] != 0; count++)
        types[count] = type_of(row->types[count]);
    return count;
}

void
mr_stmt_args_reset(struct mr_args *args)
{
    mr_bin_reset(&args->bin);
    args->count = 0;
}

struct mr_bin *
mr_stmt_arg(struct mr_args *args)
{
    MR_ASSERT(args->count < MR_ARGS_MAX);
    args->at[args->count++] = args->bin.n;
    return &args->bin;
}

void
mr_stmt_args_fini(struct mr_args *args)
{
    mr_bin_fini(&args->bin);
    args->count = 0;
}

static bool
send_prepare(PGconn *conn, const struct row *row)
{
    Oid types[TYPES_MAX];
    int count = types_of(row, types);

    return PQsendPrepare(conn, row->name, row->text, count, types);
}

/* All in one pipeline; the sync ends it, whatever failed. */
static enum mr_status
prepare_all(struct mr_pg *pg, unsigned sets, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    int sent = 0;

    for (int i = 0; i < MR_STMT_COUNT; i++) {
        if ((rows[i].set & sets) == 0)
            continue;
        if (!send_prepare(pg->conn, &rows[i]))
            return mr_pg_fail(pg, NULL, "prepare statements", err);
        sent++;
    }
    if (!PQpipelineSync(pg->conn))
        return mr_pg_fail(pg, NULL, "prepare statements", err);
    for (int i = 0; i <= sent; i++) {
        struct pg_result *result = mr_pg_next(pg);
        ExecStatusType got = PQresultStatus(result);

        if (got != PGRES_COMMAND_OK && got != PGRES_PIPELINE_SYNC && status == MR_OK)
            status = mr_pg_fail(pg, result, "prepare statements", err);
        PQclear(result);
        if (!result || got == PGRES_PIPELINE_SYNC)
            break;
        result = mr_pg_next(pg); /* the NULL behind each */
        PQclear(result);
    }
    return status;
}

enum mr_status
mr_stmt_prepare(struct mr_pg *pg, enum mr_stmt_set set, struct mr_err *err)
{
    unsigned sets = ((unsigned)set | MR_STMT_BOTH) & ~pg->prepared;
    enum mr_status status;

    if (sets == 0)
        return MR_OK;
    if (!PQenterPipelineMode(pg->conn))
        return mr_pg_fail(pg, NULL, "prepare statements", err);
    status = prepare_all(pg, sets, err);
    if (!PQexitPipelineMode(pg->conn) && status == MR_OK)
        status = mr_pg_fail(pg, NULL, "prepare statements", err);
    if (status == MR_OK)
        pg->prepared |= sets;
    return status;
}

enum mr_status
mr_stmt_send(
    struct mr_pg *pg, enum mr_stmt stmt, const struct mr_args *args, struct mr_err *err)
{
    const char *values[MR_ARGS_MAX];
    int lengths[MR_ARGS_MAX], formats[MR_ARGS_MAX];
    int count = args ? args->count : 0;

    if (args && args->bin.is_full)
        return mr_err_set(err, MR_NO_MEMORY, mr_stmt_what(stmt),
            "its parameters do not fit into memory", "Send less at a time.");
    for (int i = 0; i < count; i++) {
        const uint8_t *field = args->bin.p + args->at[i];
        uint32_t n = (uint32_t)field[0] << 24 | (uint32_t)field[1] << 16 |
                     (uint32_t)field[2] << 8 | field[3];

        values[i] = n == UINT32_MAX ? NULL : (const char *)field + 4;
        lengths[i] = n == UINT32_MAX ? 0 : (int)n;
        formats[i] = 1;
    }
    if (!PQsendQueryPrepared(
            pg->conn, rows[stmt].name, count, values, lengths, formats, 1))
        return mr_pg_fail(pg, NULL, mr_stmt_what(stmt), err);
    return MR_OK;
}

const char *
mr_stmt_what(enum mr_stmt stmt)
{
    return rows[stmt].what;
}

const char *
mr_stmt_name(enum mr_stmt stmt)
{
    return rows[stmt].name;
}

const char *
mr_stmt_text(enum mr_stmt stmt)
{
    return rows[stmt].text;
}

const char *
mr_stmt_copy_text(enum mr_stmt_copy copy)
{
    return copies[copy].text;
}

const char *
mr_stmt_copy_what(enum mr_stmt_copy copy)
{
    return copies[copy].what;
}
