#include "tests/chaos/check_priv.h"

/*
 * Both sides of a comparison are always listed (full joins, unions): what only one side knows is
 * damage, too. PostgreSQL's reserved words apart, names are those of the tables.
 */

/* Kinds whose success leaves a row in the ledger; the others leave none. */
#define HAS_EFFECT "j.kind in ('chaos.transfer', 'chaos.slow', 'chaos.chain')"
#define IS_TRANSFER "j.kind in ('chaos.transfer', 'chaos.slow')"
#define SUBMITS "('submit', 'resubmit', 'forge')"
#define ACKNOWLEDGED                                                                     \
    "op in " SUBMITS " and phase = 'ok' and code in ('OK', 'KNOWN', 'FINISHED')"

static const char ends[] =
    "select coalesce(j.id, a.id, i.id) as id, case"
    " when j.id is null and i.id is null then 'lost'"
    " when j.id is null then 'left in the inbox'"
    " when r.n is null then 'without an end'"
    " when r.n > 1 then 'ended more than once' end as problem,"
    " j.kind as note from millrace.job j"
    " full join (select distinct id from seen where " ACKNOWLEDGED ") a on a.id = j.id"
    " full join millrace.inbox i on i.id = coalesce(j.id, a.id)"
    " left join (select id, count(*) as n from millrace.result group by id) r"
    " on r.id = j.id";

static const char effects[] =
    "select j.id, case"
    " when l.n > 1 then 'took effect more than once'"
    " when r.outcome = 1 and " HAS_EFFECT
    " and l.n is null then 'succeeded without effect'"
    " when r.outcome is distinct from 1 and l.n > 0"
    " then 'took effect without having succeeded'"
    " when not " HAS_EFFECT " and l.n > 0 then 'effect of a kind that has none'"
    " when " IS_TRANSFER " and l.n = 1 and (l.source, l.target, l.cents) is distinct from"
    " (t.source, t.target, t.cents) then 'another effect than was asked for'"
    " when l.n = 1 and l.kind <> j.kind then 'effect of another kind' end as problem,"
    " format('%s, outcome %s, %s ledger rows', j.kind, r.outcome, coalesce(l.n, 0)) as "
    "note"
    " from millrace.job j left join millrace.result r on r.id = j.id"
    " left join told t on t.id = j.id left join (select job, count(*) as n,"
    " min(kind) as kind, min(source) as source, min(target) as target,"
    " min(cents) as cents from ledger group by job) l on l.job = j.id";

static const char results[] =
    "select j.id, case when t.wanted is not null and t.got is distinct from t.wanted"
    " then 'another result than is right' end as problem,"
    " format('%s: %s instead of %s', j.kind, coalesce(t.got::text, 'none'), t.wanted) as "
    "note"
    " from millrace.job j join millrace.result r on r.id = j.id and r.outcome = 1"
    " join told t on t.id = j.id"
    " where " IS_TRANSFER " or j.kind = 'chaos.calc'";

static const char phantoms[] =
    "select x.id, case when i.id is null and c.child is null then 'phantom ' || x.what"
    " when c.child is not null and p.outcome is distinct from 1"
    " then 'child of a parent that did not succeed' end as problem, x.what as note"
    " from (select id, 'job' as what from millrace.job"
    " union select id, 'result' from millrace.result"
    " union select id, 'attempt' from millrace.attempt"
    " union select id, 'inbox row' from millrace.inbox"
    " union select job, 'ledger row' from ledger"
    " union select id, 'start' from begun) x"
    " left join (select distinct id from seen where op in " SUBMITS
    " and phase = 'invoke') i on i.id = x.id"
    " left join (select child, min(parent::text)::uuid as parent from chain group by "
    "child) c"
    " on c.child = x.id left join millrace.result p on p.id = c.parent";

/* An account is no job: its number stands in the note. */
static const char balances[] =
    "select null::uuid as id, case when a.cents <> a.opening + coalesce(f.cents, 0)"
    " then 'torn transfer' end as problem, format('account %s: %s instead of %s', a.id,"
    " a.cents, a.opening + coalesce(f.cents, 0)) as note"
    " from account a left join (select account, sum(cents) as cents from"
    " (select t.source as account, -t.cents as cents from told t join millrace.result r"
    " on r.id = t.id and r.outcome = 1 join millrace.job j on j.id = t.id "
    "where " IS_TRANSFER
    " union all select t.target, t.cents from told t join millrace.result r"
    " on r.id = t.id and r.outcome = 1 join millrace.job j on j.id = t.id "
    "where " IS_TRANSFER ") x group by account) f on f.account = a.id"
    " union all select null, case when sum(cents) <> sum(opening) then 'money made or "
    "lost'"
    " end, format('all accounts: %s instead of %s', sum(cents), sum(opening)) from "
    "account"
    " having count(*) > 0";

static const char finishers[] =
    "select r.id, case when b.started is null then 'finished by an attempt that never "
    "began'"
    " when not b.ended then 'finished by an attempt whose handler had not ended'"
    " when l.attempt <> r.attempt then 'effect of another attempt than the one that "
    "finished'"
    " when l.pid is not null and not l.pid = any (b.pids)"
    " then 'effect of a process that did not run the attempt'"
    " when a.id is not null then 'the attempt that finished is recorded as failed'"
    " end as problem, format('attempt %s', r.attempt) as note"
    " from millrace.result r left join (select id, attempt, bool_or(what = 'S') as "
    "started,"
    " bool_or(what = 'E') as ended, array_agg(pid) as pids from begun"
    " group by id, attempt) b on b.id = r.id and b.attempt = r.attempt"
    " left join (select job, min(attempt) as attempt, min(pid) as pid from ledger"
    " group by job having count(*) = 1) l on l.job = r.id"
    " left join millrace.attempt a on a.id = r.id and a.attempt = r.attempt"
    " and a.worker = r.worker and a.outcome in (1, 4) where r.outcome = 1";

/* A worker is given up when it was harmed, or crashed, or when broker, links or database were
 * harmed: between the attempt's start and the job's next one, or shortly before. */
static const char losses[] =
    "select a.id, case when not exists (select from fault f where f.at <= b.next and"
    " ((f.fault in ('kill-worker', 'freeze-worker') and f.at >= b.at - 5000000"
    " and substring(f.detail from 'pid=([0-9]+)')::int = b.pid)"
    " or (f.fault ~ '^(kill-broker|freeze-broker|usurp|link-cut-[wd]|db-)'"
    " and f.at >= b.at - 15000000))) and not exists (select from crash c"
    " where c.pid = b.pid and c.at <= b.next) then 'lost, though nothing had happened' "
    "end"
    " as problem, format('attempt %s on pid %s, %s: %s', a.attempt, b.pid, a.worker, "
    "a.error)"
    " as note from millrace.attempt a join (select *, coalesce(lead(at) over"
    " (partition by id order by at), 9e18::bigint) as next from begun where what = 'S') b"
    " on b.id = a.id and b.attempt = a.attempt where a.outcome in (2, 5)"
    " union all select null, null, 'no attempt was lost' where not exists"
    " (select from millrace.attempt where outcome in (2, 5))";

/* Sequence numbers are drawn under the lock that the claim and the fence share. */
static const char epochs[] =
    "select null::uuid as id, case when own is null then 'written without a claim'"
    " when own < highest then 'written under an epoch that was over'"
    " when what = 'claim' and epoch <= before then 'an epoch that is not new'"
    " end as problem, format('record %s: broker %s wrote %s under epoch %s of %s', seq,"
    " broker, what, own, highest) as note from (select seq, what, broker, epoch,"
    " max(epoch) over (partition by broker order by seq) as own,"
    " max(epoch) over (order by seq) as highest,"
    " max(epoch) over (order by seq rows between unbounded preceding and 1 preceding)"
    " as before from epoch_record) x";

static const char outcomes[] =
    "select s.id, case when r.id is null then 'told of an end that is not stored'"
    " when millrace.outcome_word(r.outcome) <> s.outcome then 'told of another outcome'"
    " when r.outcome = 1 and s.digest is distinct from t.body_digest"
    " then 'told of another result' end as problem,"
    " format('%s by client %s: %s', s.op, s.client, s.outcome) as note"
    " from seen s left join millrace.result r on r.id = s.id"
    " left join told t on t.id = s.id where s.phase = 'ok' and s.outcome is not null";

static const char cancels[] =
    "select s.id, case when j.id is null then 'cancelled, but there is no such job'"
    " when s.code = 'OK' and r.outcome is distinct from 3 then 'cancelled, and yet it "
    "ended'"
    " when s.code = 'FINISHED' and r.id is null then 'said to be finished, and was not'"
    " end as problem, format('%s; its outcome is %s', s.code, r.outcome) as note"
    " from seen s left join millrace.job j on j.id = s.id"
    " left join millrace.result r on r.id = s.id"
    " where s.op = 'cancel' and s.phase in ('ok', 'fail') and s.code in ('OK', "
    "'FINISHED')";

/* How far a job was when it was seen: 0 not there, 1 there, 2 ended. KNOWN says nothing about
 * its end. */
static const char order[] =
    "with at as (select id, client, seq, invoked, op, code, case"
    " when outcome is not null or code = 'FINISHED' then 2"
    " when code in ('NO_JOB', 'NOT_FOUND') then 0 else 1 end as far,"
    " op in ('watch', 'show') or code in ('NO_JOB', 'NOT_FOUND') as counts from seen"
    " where phase <> 'invoke' and phase <> 'unknown' and (phase = 'ok' or code in"
    " ('FINISHED', 'NO_JOB', 'NOT_FOUND')))"
    " select a.id, case when a.far < max(b.far) then 'saw a state older than one before'"
    " end as problem, format('client %s, %s: %s', a.client, a.op, a.code) as note"
    " from at a join at b on b.client = a.client and b.id = a.id and b.seq < a.invoked"
    " where a.counts group by a.id, a.client, a.seq, a.far, a.op, a.code";

static const char keys[] =
    "select s.id, case"
    " when s.code in ('OK', 'KNOWN', 'FINISHED') and s.digest is distinct from t.digest"
    " then 'accepted with another body than is stored'"
    " when s.code = 'CONFLICT' and s.digest is not distinct from t.digest"
    " and j.kind = s.kind then 'refused, though it is the same job'"
    " when s.code = 'CONFLICT' and j.id is null then 'in conflict with nothing' end"
    " as problem, format('%s by client %s: %s', s.op, s.client, s.code) as note"
    " from seen s left join told t on t.id = s.id left join millrace.job j on j.id = s.id"
    " where s.op in " SUBMITS " and s.phase in ('ok', 'fail')"
    " and s.code in ('OK', 'KNOWN', 'FINISHED', 'CONFLICT') and (t.id is not null"
    " or s.code = 'CONFLICT')";

static const char forgeries[] =
    "select id, case when code <> 'CONFLICT' then 'the answer to a forgery was ' || code"
    " end as problem, null as note from seen f where op = 'forge' and phase in ('ok', "
    "'fail')"
    " and code in ('OK', 'KNOWN', 'FINISHED', 'CONFLICT') and exists (select from seen s"
    " where s.id = f.id and s.seq <> f.seq and s.digest <> f.digest and s." ACKNOWLEDGED
    ")";

static const char chains[] =
    "select j.id, case"
    " when r.outcome = 1 and t.depth > 0 and c.n is null then 'succeeded without its "
    "child'"
    " when r.outcome = 1 and t.depth > 0 and c.n > 1 then 'has more than one child'"
    " when (r.outcome is distinct from 1 or t.depth = 0) and c.n > 0"
    " then 'has a child, and should have none'"
    " when c.n = 1 and k.id is null then 'its child is lost'"
    " when c.n = 1 and u.depth is distinct from t.depth - 1 then 'its child is another "
    "one'"
    " when b.at < e.at then 'its child began before it had ended'"
    " end as problem, format('depth %s, %s children', t.depth, coalesce(c.n, 0)) as note"
    " from millrace.job j join told t on t.id = j.id"
    " left join millrace.result r on r.id = j.id"
    " left join (select parent, count(*) as n, min(child::text)::uuid as child from chain"
    " group by parent) c on c.parent = j.id left join millrace.job k on k.id = c.child"
    " left join told u on u.id = c.child"
    " left join (select id, min(at) as at from begun where what = 'S' group by id) b"
    " on b.id = c.child left join (select id, attempt, min(at) as at from begun"
    " where what = 'E' group by id, attempt) e on e.id = j.id and e.attempt = r.attempt"
    " where j.kind = 'chaos.chain'";

static const char attempts[] =
    "select j.id, case"
    " when v.state is null then 'is in no list for people'"
    " when v.state is distinct from coalesce(millrace.outcome_word(r.outcome), v.state)"
    " then 'shown with another state than is stored'"
    " when r.outcome = 2 and a.n is null then 'failed without an attempt that failed'"
    " when r.outcome = 2 and r.error like 'quarantined%' and a.lost < q.losses_max"
    " then 'quarantined after too few losses'"
    " when r.attempt < a.last and r.outcome <> 1 then 'ended by an attempt before its "
    "last'"
    " end as problem, format('%s of attempt %s; %s attempts, %s lost, the last was %s: "
    "%s',"
    " v.state, r.attempt, a.n, a.lost, a.last, r.error) as note"
    " from millrace.job j left join millrace.result r on r.id = j.id"
    " left join (select id, state from millrace.jobs) v on v.id = j.id"
    " left join (select id, count(*) as n, count(*) filter (where outcome in (2, 5)"
    " and started_at is not null) as lost,"
    " max(attempt) as last from millrace.attempt group by id) a on a.id = j.id"
    " cross join (select coalesce((select max(value) from counter"
    " where name = 'losses_max'), 3) as losses_max) q";

static const char sums[] =
    "select null::uuid as id, case when x.a is distinct from x.b then 'sums that differ' "
    "end"
    " as problem, format('%s: %s and %s', x.what, x.a, x.b) as note from"
    " (select 'jobs and results' as what, (select count(*) from millrace.job) as a,"
    " (select count(*) from millrace.result) as b"
    " union all select 'successes with an effect and ledger rows', (select count(*)"
    " from millrace.job j join millrace.result r on r.id = j.id and r.outcome = 1"
    " where " HAS_EFFECT "), (select count(*) from ledger)"
    " union all select 'cents moved and cents of successes', (select sum(cents) from "
    "ledger),"
    " (select sum(t.cents) from told t join millrace.job j on j.id = t.id"
    " join millrace.result r on r.id = t.id and r.outcome = 1 where " IS_TRANSFER ")"
    " union all select 'children and jobs that no client submitted', (select count(*)"
    " from chain), (select count(*) from millrace.job j where not exists (select from "
    "seen s"
    " where s.id = j.id and s.op in " SUBMITS "))) x";

static const char drained[] =
    "select null::uuid as id, case when until is null then 'never became empty'"
    " when until - since > bound * 1000000 then 'took too long to become empty' end"
    " as problem, format('%s s after the last heal, the limit is %s s',"
    " round((until - since) / 1e6, 1), bound) as note from (select max(at) filter"
    " (where phase = 'fire') as since, max(at) filter (where phase = 'heal') as until,"
    " coalesce((select max(value) from counter where name = 'drain_s_max'), 120) as bound"
    " from fault where fault = 'drain') x where since is not null";

const struct mr_chaos_sql mr_chaos_sql_all[] = {
    {"C1 ends", "every accepted job has ended, once", ends},
    {"C2 effects", "a success took effect once, everything else not at all", effects},
    {"C2 results", "results are those that the checker works out", results},
    {"C3 phantoms", "every row and start belongs to a submit or to a parent", phantoms},
    {"C4 balances", "each account is its opening and its transfers", balances},
    {"C5 finishers", "who finished a job had begun it, and ended it", finishers},
    {"C5 losses", "an attempt is lost only if something had happened", losses},
    {"C6 epochs", "no broker wrote after the next one had claimed", epochs},
    {"C7 outcomes", "what clients were told is what is stored", outcomes},
    {"C7 cancels", "after `cancelled` nothing else became of the job", cancels},
    {"C8 order", "no client saw a state older than one before", order},
    {"C9 keys", "same id, same body: one job", keys},
    {"C9 forgeries", "same id, other body: refused", forgeries},
    {"C10 chains", "each link has its child, in the same transaction", chains},
    {"C10 attempts", "attempts, outcomes and lists agree", attempts},
    {"C10 sums", "sums over tables agree", sums},
    {"C12 drained", "after the last heal the queue became empty in time", drained},
};
const uint32_t mr_chaos_sql_count = sizeof mr_chaos_sql_all / sizeof mr_chaos_sql_all[0];

const char mr_chaos_story_sql[] =
    "select line from (select 1 as part, s.at, format('history %s client %s %s %s %s %s "
    "%s"
    " attempt %s %s', s.at, s.client, s.op, s.phase, coalesce(s.digest, '-'),"
    " coalesce(s.code, '-'), coalesce(s.outcome, '-'), s.attempt, s.said) as line"
    " from seen s where s.id = $1::uuid"
    " union all select 1, at, format('handler %s pid %s %s attempt %s', at, pid, what,"
    " attempt) from begun where id = $1::uuid"
    " union all select 2, 0, format('job     %s %s shard %s, submitted %s by %s', kind,"
    " queue, shard, submitted_at, submitted_by) from millrace.job where id = $1::uuid"
    " union all select 3, attempt, format('attempt %s %s by %s, %s to %s: %s', attempt,"
    " millrace.attempt_word(outcome), worker, started_at, finished_at, error)"
    " from millrace.attempt where id = $1::uuid"
    " union all select 4, 0, format('result  attempt %s %s by %s, %s to %s: %s %s', "
    "attempt,"
    " millrace.outcome_word(outcome), worker, started_at, finished_at, error, body)"
    " from millrace.result where id = $1::uuid"
    " union all select 5, 0, format('ledger  attempt %s pid %s at %s: %s to %s, %s "
    "cents',"
    " attempt, pid, at, source, target, cents) from ledger where job = $1::uuid"
    " union all select 6, 0, format('chain   parent %s child %s depth %s', parent, child,"
    " depth) from chain where $1::uuid in (parent, child)"
    " union all select 7, 0, 'inbox   ' || kind from millrace.inbox where id = $1::uuid) "
    "x"
    " order by part, at limit 80";
