-- Set "ride", version 1: the tables of the ride kinds (worker/kinds/ride_*.c, pay_charge.c).
-- A ride's id is the id of its ride.request job. Money is euro cents, lengths are centimetres,
-- durations milliseconds, all whole numbers. Nothing here is read or written by the broker.

create schema ride;
comment on schema ride is 'Ride dispatch: the example of millrace. Written by the ride.* and pay.* kinds only.';

create table ride.vehicle (
    id text primary key check (id ~ '^[A-Za-z0-9_.-]{1,32}$'),
    class text not null,
    edge text not null,
    ride_id uuid unique
);
comment on table ride.vehicle is 'The fleet; filled by whoever runs it.';
comment on column ride.vehicle.edge is 'Where it stands: the edge where its last ride ended.';
comment on column ride.vehicle.ride_id is 'The ride it is on; null: free. Locked and set by ride.match, cleared by ride.finish.';
create index vehicle_free on ride.vehicle (class, id) where ride_id is null;

create table ride.ride (
    id uuid primary key,
    rider text not null,
    request_key text not null,
    class text not null,
    from_edge text not null,
    to_edge text not null,
    speed integer not null check (speed between 1 and 1000000),
    patience_ms integer not null check (patience_ms > 0),
    requested_at timestamptz not null default clock_timestamp(),
    state text not null check (state in ('requested', 'matched', 'charged', 'done', 'refused', 'cancelled')),
    vehicle_id text references ride.vehicle,
    matched_at timestamptz,
    pickup_ms bigint check (pickup_ms >= 0),
    route_ms bigint check (route_ms >= 0),
    route_cm bigint check (route_cm >= 0),
    tariff text,
    fare_cents bigint check (fare_cents > 0),
    charge_id text unique,
    unique (rider, request_key),
    check ((state in ('matched', 'charged', 'done'))
        = (vehicle_id is not null and matched_at is not null and pickup_ms is not null
            and route_ms is not null and route_cm is not null)),
    check ((state in ('charged', 'done'))
        = (fare_cents is not null and tariff is not null and charge_id is not null))
);
comment on table ride.ride is 'One row a request; (rider, request_key) makes asking again harmless.';
comment on column ride.ride.id is 'The id of its ride.request job; the idempotency key of its charge.';
comment on column ride.ride.speed is 'How many times faster than real the drive is simulated.';
comment on column ride.ride.pickup_ms is 'From where the vehicle stood to from_edge, by the router.';
comment on column ride.ride.route_ms is 'From route.plan''s result.';
comment on column ride.ride.fare_cents is 'From fare.quote''s result.';
comment on column ride.ride.charge_id is 'The payment provider''s name for the charge.';
create unique index one_active_ride_a_vehicle on ride.ride (vehicle_id)
    where state in ('matched', 'charged');
comment on index ride.one_active_ride_a_vehicle is 'No vehicle on two rides at once: a fact of the database, not a hope.';

alter table ride.vehicle add foreign key (ride_id) references ride.ride;

create table ride.event (
    ride_id uuid not null references ride.ride,
    n integer not null check (n > 0),
    state text not null,
    at timestamptz not null default clock_timestamp(),
    job uuid not null,
    attempt integer not null check (attempt > 0),
    follow_ups uuid[] not null,
    primary key (ride_id, n)
);
comment on table ride.event is 'Every change of a ride''s state, written in the transaction that made it.';
comment on column ride.event.at is 'Taken when the row is written, after the locks are held: a vehicle''s intervals do not overlap.';
comment on column ride.event.attempt is 'The fence: must be the attempt that millrace.result names for the job.';
comment on column ride.event.follow_ups is 'The jobs that this step submitted in its transaction.';
create unique index one_step_a_job on ride.event (job);

create table ride.ledger_entry (
    id bigint generated always as identity primary key,
    txn uuid not null,
    account text not null,
    cents bigint not null check (cents <> 0),
    ride_id uuid not null references ride.ride,
    unique (txn, account)
);
comment on table ride.ledger_entry is 'Double entry: the entries of a txn sum to zero; a debit is negative.';
comment on column ride.ledger_entry.txn is 'The id of the job that booked it.';
comment on column ride.ledger_entry.account is 'rider:NAME, driver:VEHICLE or commission.';

create function ride.ledger_check() returns trigger language plpgsql as $$
declare
    touched uuid := case when tg_op = 'DELETE' then old.txn else new.txn end;
    total bigint;
begin
    select coalesce(sum(cents), 0) into total from ride.ledger_entry where txn = touched;
    if total <> 0 then
        raise exception 'ledger transaction % is out of balance by % cents', touched, total
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
comment on function ride.ledger_check() is 'Called at commit: refuses a transaction that does not balance.';

create constraint trigger ledger_balance after insert or update or delete on ride.ledger_entry
    deferrable initially deferred for each row execute function ride.ledger_check();

create view ride.rides as
select r.id, r.state, r.rider, r.vehicle_id as vehicle, r.from_edge, r.to_edge,
    round(r.pickup_ms / 1000.0, 1) as pickup_s, round(r.route_ms / 1000.0, 1) as ride_s,
    round(r.route_cm / 100.0) as metres, (r.fare_cents / 100.0)::numeric(10, 2) as fare_eur,
    r.charge_id, r.requested_at
from ride.ride r;
comment on view ride.rides is 'Rides for people.';

create view ride.accounts as
select account, count(*) as entries, (sum(cents) / 100.0)::numeric(12, 2) as balance_eur
from ride.ledger_entry group by account;
comment on view ride.accounts is 'Balances; their sum is 0.00.';
