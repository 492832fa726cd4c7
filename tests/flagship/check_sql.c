#include "tests/flagship/check_sql.h"

/*
 * Each question lists what was looked at (item) and what is wrong with it (problem, null if
 * nothing is). They are full joins: what only one side knows is damage, too.
 */
#define JUDGE(q)                                                                         \
    "select count(*), count(problem), (array_agg(item || ': ' || problem order by item)" \
    " filter (where problem is not null))[1] from (" q ") as judged"

/* A vehicle is busy from `matched` to `done`; both times are taken under the lock. */
static const char overlap[] =
    JUDGE("select 'ride ' || id as item, case when since < before then 'vehicle ' || "
          "vehicle_id ||"
          " ' was still on another ride' end as problem from (select r.id, r.vehicle_id, "
          "m.at as"
          " since, max(coalesce(d.at, 'infinity')) over (partition by r.vehicle_id order "
          "by m.at, r.id"
          " rows between unbounded preceding and 1 preceding) as before from ride.ride r"
          " join ride.event m on m.ride_id = r.id and m.state = 'matched'"
          " left join ride.event d on d.ride_id = r.id and d.state = 'done') as busy");

static const char ends[] = JUDGE(
    "select 'ride ' || coalesce(r.id, q.id) as item, case"
    " when r.id is null then 'accepted, but there is no such ride'"
    " when q.id is null then 'no request that succeeded has made it'"
    " when r.state not in ('done', 'cancelled', 'refused') then 'is left ' || r.state"
    " when v.id is not null then 'is over, but keeps vehicle ' || v.id end as problem"
    " from ride.ride r full join (select distinct"
    " (millrace.msgpack_to_jsonb(s.body)->>'ride')::uuid as id from millrace.job j"
    " join millrace.result s using (id) where j.kind = 'ride.request' and s.outcome = 1) "
    "q"
    " using (id) left join ride.vehicle v on v.ride_id = r.id");

static const char charged_twice[] =
    JUDGE("select 'ride ' || ride as item, case when count(*) > 1 then count(*) || ' "
          "charges, ' ||"
          " string_agg(charge, ' ') end as problem from provider_charge group by ride");

static const char charges[] = JUDGE(
    "select 'ride ' || coalesce(r.id::text, p.ride) as item, case"
    " when r.id is null then 'the provider has charged it, but it is not done'"
    " when p.ride is null then 'is done, but the provider has no charge for it'"
    " when r.charge_id <> all (p.charges) then 'the provider does not know charge ' || "
    "r.charge_id"
    " when p.low <> r.fare_cents or p.high <> r.fare_cents then 'the fare is ' || "
    "r.fare_cents"
    " || ', the provider took ' || p.low || ' to ' || p.high"
    " when p.other_keys > 0 then 'charged under another key' end as problem"
    " from (select id, charge_id, fare_cents from ride.ride where state = 'done') r"
    " full join (select ride, array_agg(charge) as charges, min(cents) as low,"
    " max(cents) as high, count(*) filter (where key not in ('-', ride)) as other_keys"
    " from provider_charge group by ride) p on p.ride = r.id::text");

static const char ledger[] = JUDGE(
    "select 'ride ' || coalesce(r.id, b.ride_id) as item, case"
    " when r.id is null then 'is booked, but not done'"
    " when b.ride_id is null then 'is done, but not booked'"
    " when b.txns <> 1 then 'is booked ' || b.txns || ' times'"
    " when b.total <> 0 then 'is out of balance by ' || b.total"
    " when b.others > 0 then 'is booked on an account that has nothing to do with it'"
    " when b.rider is distinct from -r.fare_cents then 'the rider pays ' || "
    "coalesce(-b.rider, 0)"
    " || ', the fare is ' || r.fare_cents"
    " when b.earned is distinct from r.fare_cents then 'driver and commission get ' ||"
    " coalesce(b.earned, 0) end as problem"
    " from (select * from ride.ride where state = 'done') r full join (select e.ride_id,"
    " count(distinct e.txn) as txns, sum(e.cents) as total,"
    " sum(e.cents) filter (where e.account = 'rider:' || o.rider and e.cents < 0) as "
    "rider,"
    " sum(e.cents) filter (where e.account in ('driver:' || o.vehicle_id, 'commission')"
    " and e.cents > 0) as earned, count(*) filter (where not coalesce(case when e.cents "
    "< 0"
    " then e.account = 'rider:' || o.rider else e.account in ('driver:' || o.vehicle_id,"
    " 'commission') end, false)) as others from ride.ledger_entry e"
    " join ride.ride o on o.id = e.ride_id group by e.ride_id) b on b.ride_id = r.id"
    " union all select 'transaction ' || txn, case when sum(cents) <> 0 then"
    " 'is out of balance by ' || sum(cents) end from ride.ledger_entry group by txn");

static const char steps[] = JUDGE(
    "select 'ride ' || id || ' step ' || coalesce(n::text, '-') as item, case"
    " when n is null then 'has no events'"
    " when n <> place then 'there is a gap before it'"
    " when not (coalesce(before, '') || '>' || state = any (array['>requested',"
    " 'requested>matched', 'requested>refused', 'requested>cancelled', 'matched>charged',"
    " 'charged>done'])) then coalesce(before, 'nothing') || ' may not become ' || state"
    " when at < since then 'is older than the one before'"
    " when is_last and state <> now then 'the ride is ' || now || ', its last event ' || "
    "state"
    " end as problem from (select r.id, r.state as now, e.n, e.state, e.at,"
    " row_number() over w as place, lag(e.state) over w as before, lag(e.at) over w as "
    "since,"
    " lead(e.n) over w is null as is_last from ride.ride r left join ride.event e"
    " on e.ride_id = r.id window w as (partition by r.id order by e.n)) as walked");

/* The attempt that wrote the event is the one whose result stands, and the other way round. */
static const char fences[] = JUDGE(
    "select 'job ' || coalesce(e.job, s.id) as item, case"
    " when s.id is null then 'has written step ' || e.state || ', but has no result'"
    " when e.job is null then 'has succeeded (' || s.kind || '), but has written no step'"
    " when s.outcome <> 1 then 'has written step ' || e.state || ', but has not "
    "succeeded'"
    " when s.attempt <> e.attempt then 'attempt ' || s.attempt || ' stands, but attempt "
    "' ||"
    " e.attempt || ' has written step ' || e.state end as problem from ride.event e"
    " full join (select r.id, r.outcome, r.attempt, j.kind from millrace.job j"
    " join millrace.result r using (id) where j.kind in ('ride.match', 'pay.charge',"
    " 'ride.finish', 'ride.request') and (r.outcome = 1 or exists (select from "
    "ride.event x"
    " where x.job = r.id)) and not (j.kind = 'ride.request' and coalesce("
    "(millrace.msgpack_to_jsonb(r.body)->>'is_repeat')::boolean, false))) s on s.id = "
    "e.job");

/* What the ride carries is what the calculations said. */
static const char results[] = JUDGE(
    "select 'ride ' || r.id as item, case when p.j is null then 'route.plan has no "
    "result'"
    " when (p.j->>'ms')::bigint <> r.route_ms or (p.j->>'cm')::bigint <> r.route_cm then"
    " 'route.plan said ' || (p.j->>'ms') || ' ms' when r.state = 'done' and f.j is null "
    "then"
    " 'fare.quote has no result' when (f.j->>'cents')::bigint <> r.fare_cents then"
    " 'fare.quote said ' || (f.j->>'cents') || ' cents' end as problem from ride.ride r"
    " left join ride.event a on a.ride_id = r.id and a.state = 'requested'"
    " left join ride.event b on b.ride_id = r.id and b.state = 'matched'"
    " left join lateral (select millrace.msgpack_to_jsonb(body) as j from millrace.result"
    " where id = a.follow_ups[1] and outcome = 1) p on true"
    " left join lateral (select millrace.msgpack_to_jsonb(body) as j from millrace.result"
    " where id = b.follow_ups[1] and outcome = 1) f on true where r.vehicle_id is not "
    "null");

static const char keys[] = JUDGE(
    "select 'job ' || id as item, case"
    " when outcome = 1 and ride is null then 'succeeded, but no ride has its key'"
    " when outcome = 1 and not same then 'another request was accepted under a used key'"
    " when outcome = 2 and same then 'the same request was refused'"
    " when outcome = 1 and answer is distinct from ride then 'was told another ride'"
    " end as problem from (select j.id, s.outcome, r.id as ride,"
    " (millrace.msgpack_to_jsonb(s.body)->>'ride')::uuid as answer,"
    " r.from_edge = j.p->>'from' and r.to_edge = j.p->>'to'"
    " and r.class = coalesce(j.p->>'class', 'bus') as same"
    " from (select id, millrace.msgpack_to_jsonb(payload) as p from millrace.job"
    " where kind = 'ride.request') j join millrace.result s using (id) left join "
    "ride.ride r"
    " on r.rider = j.p->>'rider' and r.request_key = j.p->>'key') as asked");

static const char outbox[] = JUDGE(
    "select 'job ' || coalesce(f.id, j.id) as item, case"
    " when j.id is null then 'was submitted by step ' || f.state || ', but there is no "
    "such job'"
    " when f.id is null then 'is a ' || j.kind || ' that no step has submitted'"
    " when f.times > 1 then 'was submitted by ' || f.times || ' steps'"
    " when s.id is null then 'is a ' || j.kind || ' without a result' end as problem"
    " from (select id, min(state) as state, count(*) as times from ride.event,"
    " unnest(follow_ups) as id group by id) f full join (select id, kind from "
    "millrace.job"
    " where kind in ('ride.match', 'pay.charge', 'ride.finish') or id in"
    " (select unnest(follow_ups) from ride.event)) j using (id)"
    " left join millrace.result s on s.id = coalesce(f.id, j.id)"
    " union all select 'job ' || id, 'is left in the inbox' from millrace.inbox"
    " union all select 'ride ' || ride_id || ' step ' || n, case when "
    "cardinality(follow_ups) <>"
    " case state when 'requested' then 2 when 'matched' then 2 when 'charged' then 1 "
    "else 0 end"
    " then 'has submitted ' || cardinality(follow_ups) || ' jobs' end from ride.event");

const struct mr_check_sql mr_check_sql_all[] = {
    {"double-assigned", "no vehicle is on two rides at once", overlap},
    {"ends", "every accepted request ends: done, cancelled or refused", ends},
    {"charged twice", "the provider has charged no ride twice", charged_twice},
    {"charges", "done rides and the provider's log agree, both ways", charges},
    {"ledger", "each booking balances; rider pays what the others get", ledger},
    {"steps", "events have no gap and follow the allowed order", steps},
    {"fences", "the attempt that wrote is the attempt that stands", fences},
    {"results", "rides carry what the calculations said", results},
    {"request keys", "same key, same ride; other request, refusal", keys},
    {"outbox", "each step's jobs exist once and are finished, nothing else", outbox},
};

const size_t mr_check_sql_count = sizeof mr_check_sql_all / sizeof mr_check_sql_all[0];
