-- The queue itself: jobs, what became of them, who owns which shard, and views for people.
-- Hot tables (job, attempt, result) only ever get new rows; each is divided by the id's day, a
-- version 7 uuid begins with its milliseconds, and whole days are dropped. The page beside this
-- file (README.md) says who writes what. Never edit this file once it was released: its digest
-- is kept in millrace.migration.

-- ---- ids ------------------------------------------------------------------------------------

create function millrace.id_floor(at timestamptz) returns uuid
language sql immutable parallel safe
return rpad(lpad(to_hex(greatest(0, floor(extract(epoch from at) * 1000)::bigint)), 12, '0'),
    32, '0')::uuid;
comment on function millrace.id_floor(timestamptz) is
    'The smallest id of that millisecond: "submitted since" is id >= millrace.id_floor(...).';

create function millrace.id_floor(id uuid) returns uuid
language sql immutable parallel safe
return rpad(left(replace(id::text, '-', ''), 12), 32, '0')::uuid;
comment on function millrace.id_floor(uuid) is 'The smallest id of the same millisecond.';

create function millrace.id_ms(id uuid) returns bigint
language sql immutable parallel safe
return ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint;
comment on function millrace.id_ms(uuid) is 'Milliseconds since 1970 that an id carries.';

create function millrace.new_id() returns uuid
language sql volatile parallel safe
return encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
    substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
    from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
comment on function millrace.new_id() is 'A new job id: uuid version 7.';

-- ---- words for numbers --------------------------------------------------------------------------

create function millrace.outcome_word(outcome smallint) returns text
language sql immutable parallel safe
return case outcome when 1 then 'succeeded' when 2 then 'failed' when 3 then 'cancelled'
    when 4 then 'expired' end;

create function millrace.attempt_word(outcome smallint) returns text
language sql immutable parallel safe
return case outcome when 1 then 'failed' when 2 then 'lost' when 3 then 'timed out'
    when 4 then 'snoozed' when 5 then 'crashed' end;

-- ---- hot tables -----------------------------------------------------------------------------------

create table millrace.job (
    id uuid not null primary key,
    submitted_at timestamptz not null,
    shard integer not null,
    priority smallint not null check (priority between 0 and 9),
    queue text not null check (octet_length(queue) between 1 and 64),
    kind text not null check (octet_length(kind) between 1 and 64),
    lane text,
    run_at timestamptz,
    expires_at timestamptz,
    timeout_ms bigint,
    attempts_max integer check (attempts_max > 0),
    backoff_base_ms bigint,
    backoff_cap_ms bigint,
    submitted_by text,
    trace text,
    payload bytea
) partition by range (id);
create index job_run_at on millrace.job (run_at) where run_at is not null;

comment on table millrace.job is
    'One row per accepted job, never changed. Written by the owner of its shard.';
comment on column millrace.job.id is 'uuid version 7, chosen by the submitter: the idempotency key';
comment on column millrace.job.submitted_at is 'when it was accepted, or put into the inbox';
comment on column millrace.job.shard is 'whose broker runs it';
comment on column millrace.job.priority is '0 to 9, 9 first';
comment on column millrace.job.queue is 'what it is filed under; the unit of pausing';
comment on column millrace.job.kind is 'name of the handler';
comment on column millrace.job.lane is 'jobs of one queue, priority and lane start in order';
comment on column millrace.job.run_at is 'not before; null: at once';
comment on column millrace.job.expires_at is 'not started later than this; null: never expires';
comment on column millrace.job.timeout_ms is 'of one attempt; null: as the kind says';
comment on column millrace.job.attempts_max is 'null: as the kind says';
comment on column millrace.job.backoff_base_ms is 'null: as the kind says';
comment on column millrace.job.backoff_cap_ms is 'null: as the broker says';
comment on column millrace.job.submitted_by is 'name of the session that submitted it';
comment on column millrace.job.trace is 'handed through for tracing';
comment on column millrace.job.payload is 'arguments, msgpack; null: nil';

create table millrace.attempt (
    id uuid not null,
    attempt integer not null check (attempt >= 0),
    outcome smallint not null check (outcome between 1 and 5),
    started_at timestamptz,
    finished_at timestamptz,
    retry_at timestamptz,
    worker text,
    error text,
    primary key (id, attempt)
) partition by range (id);

comment on table millrace.attempt is
    'One row per attempt that did not finish its job. Written by the owner of the shard.';
comment on column millrace.attempt.attempt is 'counts from 1';
comment on column millrace.attempt.outcome is
    '1 failed, 2 lost (its worker vanished), 3 timed out, 4 snoozed, 5 crashed';
comment on column millrace.attempt.retry_at is 'when it is tried again; null: at once or never';
comment on column millrace.attempt.worker is 'who ran it';
comment on column millrace.attempt.error is 'what the handler said';

create table millrace.result (
    id uuid not null primary key,
    finished_at timestamptz not null,
    started_at timestamptz,
    attempt integer not null check (attempt >= 0),
    outcome smallint not null check (outcome between 1 and 4),
    worker text,
    error text,
    body bytea
) partition by range (id);

comment on table millrace.result is
    'A job is finished if, and only if, it has a row here; the first one stands. Written by the '
    'worker in the handler''s own transaction (succeeded), else by the owner of the shard.';
comment on column millrace.result.attempt is 'which attempt it was; 0: it never ran';
comment on column millrace.result.outcome is '1 succeeded, 2 failed, 3 cancelled, 4 expired';
comment on column millrace.result.worker is 'who ran it';
comment on column millrace.result.error is 'why it did not succeed';
comment on column millrace.result.body is 'what the handler gave back, msgpack; null: nil';

-- Whatever has no day of its own: stragglers of dropped days, ids from the past.
create table millrace.job_rest partition of millrace.job default;
create table millrace.attempt_rest partition of millrace.attempt default;
create table millrace.result_rest partition of millrace.result default;

-- ---- cold tables ------------------------------------------------------------------------------------

create table millrace.inbox (
    id uuid not null primary key default millrace.new_id(),
    kind text not null check (kind ~ '^[!-~]{1,64}$'),
    queue text not null default 'default' check (queue ~ '^[!-~]{1,64}$'),
    payload bytea check (octet_length(payload) <= 1048576),
    priority smallint not null default 4 check (priority between 0 and 9),
    lane text check (lane ~ '^[!-~]{1,64}$'),
    run_at timestamptz check (isfinite(run_at)),
    expires_at timestamptz check (isfinite(expires_at)),
    timeout_ms bigint check (timeout_ms between 1 and 4294967295),
    attempts_max integer check (attempts_max between 1 and 1000),
    backoff_base_ms bigint check (backoff_base_ms between 1 and 4294967295),
    backoff_cap_ms bigint check (backoff_cap_ms between 1 and 4294967295),
    submitted_by text default current_user,
    submitted_at timestamptz not null default clock_timestamp(),
    trace text check (octet_length(trace) <= 128)
);
comment on table millrace.inbox is
    'Jobs submitted by plain SQL, inside somebody''s own transaction: insert a row, the broker '
    'moves it into job. Columns as in job. Handlers'' follow-up jobs come this way, too.';

-- What a table's check cannot say. Told to the application at once, in its own transaction.
create function millrace.inbox_judge() returns trigger language plpgsql as $$
begin
    if substr(new.id::text, 15, 1) <> '7' then
        raise exception 'the id % is not a uuid of version 7', new.id
            using errcode = '22023', hint = 'Leave it out, or make it with millrace.new_id().';
    end if;
    if new.id >= millrace.id_floor(clock_timestamp() + interval '1 day') then
        raise exception 'the id % carries a time more than a day from now', new.id
            using errcode = '22023', hint = 'Check the clock of whoever made it.';
    end if;
    return new;
end $$;
create trigger judge before insert on millrace.inbox
    for each row execute function millrace.inbox_judge();

create table millrace.shard (
    shard integer not null primary key,
    epoch bigint not null check (epoch > 0),
    owner uuid not null,
    endpoints text not null,
    lease_until timestamptz not null,
    low_water uuid not null default '00000000-0000-0000-0000-000000000000'
) with (fillfactor = 50);
comment on table millrace.shard is 'Which broker owns which jobs. Every transaction of a broker '
    'checks the epoch; the lease and the lock are hints.';
comment on column millrace.shard.epoch is 'how often the ownership has moved';
comment on column millrace.shard.low_water is 'no unfinished job of the shard has a smaller id';

create table millrace.queue (
    name text not null primary key,
    paused boolean not null default false,
    changed_at timestamptz not null default clock_timestamp()
);
comment on table millrace.queue is 'Policy of queues; one without a row has none.';

create table millrace.kind (
    name text not null primary key,
    first_seen timestamptz not null default clock_timestamp()
);
comment on table millrace.kind is 'Kinds that any worker has ever offered.';

-- ---- what keeps promises -----------------------------------------------------------------------------

create function millrace.fence(shard integer, epoch bigint) returns void language plpgsql as $$
begin
    perform from millrace.shard s where s.shard = $1 and s.epoch = $2 for share;
    if not found then
        raise exception 'shard % is not owned under epoch % any more', $1, $2
            using errcode = 'MR001';
    end if;
end $$;
comment on function millrace.fence(integer, bigint) is
    'First statement of each transaction of a broker: raises MR001 if the epoch has moved, and '
    'keeps it from moving until the transaction ends.';

create function millrace.finish(id uuid, attempt integer, worker text, started_at timestamptz,
    finished_at timestamptz, body bytea) returns void language plpgsql as $$
begin
    if not exists (select from millrace.job j where j.id = $1) then
        raise exception 'there is no job %', $1 using errcode = 'MR003';
    end if;
    insert into millrace.result (id, outcome, attempt, worker, started_at, finished_at, body)
    values ($1, 1, $2, $3, $4, coalesce($5, clock_timestamp()), $6)
    on conflict do nothing;
    if not found then
        raise exception 'job % is finished already', $1 using errcode = 'MR002';
    end if;
end $$;
comment on function millrace.finish(uuid, integer, text, timestamptz, timestamptz, bytea) is
    'Last statement of a handler''s transaction: the succeeded result. Raises MR002 if somebody '
    'was first and MR003 if there is no such job, so that the COMMIT behind it does not happen.';

-- ---- days ---------------------------------------------------------------------------------------------

create function millrace.days_missing_list(days_ahead integer) returns setof date
language sql stable
begin atomic
    select x.day from generate_series(-1, days_ahead) n,
        lateral (select (clock_timestamp() at time zone 'UTC')::date + n as day) x
    where to_regclass('millrace.job_' || to_char(x.day, 'YYYYMMDD')) is null
    order by x.day;
end;

create function millrace.days_missing(days_ahead integer) returns bigint language sql stable
return (select count(*) from millrace.days_missing_list(days_ahead));

create function millrace.days_make(days_ahead integer) returns integer language plpgsql as $$
declare
    parent text;
    d date;
    made integer := 0;
begin
    -- One at a time; whoever waited finds nothing left to make.
    perform pg_advisory_xact_lock(28018, 1);
    for d in select * from millrace.days_missing_list(days_ahead) loop
        foreach parent in array '{job,attempt,result}'::text[] loop
            -- Made apart and attached: readers and writers of the other days go on meanwhile.
            execute format('create table millrace.%I (like millrace.%I including all)',
                parent || '_' || to_char(d, 'YYYYMMDD'), parent);
            execute format('alter table millrace.%I attach partition millrace.%I '
                'for values from (%L) to (%L)', parent, parent || '_' || to_char(d, 'YYYYMMDD'),
                millrace.id_floor(d::timestamp at time zone 'UTC'),
                millrace.id_floor((d + 1)::timestamp at time zone 'UTC'));
        end loop;
        made := made + 1;
    end loop;
    return made;
end $$;
comment on function millrace.days_make(integer) is
    'Makes what is missing of yesterday to so many days from today (UTC); returns how many.';

create function millrace.days_old(retention_days integer) returns setof date
language sql stable
begin atomic
    select to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'millrace.job'::regclass and c.relname ~ '^job_[0-9]{8}$'
        and right(c.relname, 8) < to_char((clock_timestamp() at time zone 'UTC')
            - make_interval(days => greatest(retention_days, 1) + 1), 'YYYYMMDD')
    order by 1;
end;
comment on function millrace.days_old(integer) is 'Days that are over for so many days.';

create function millrace.day_drop(day date, retention_days integer, stragglers_max integer)
returns boolean language plpgsql as $$
declare
    d text := to_char(day, 'YYYYMMDD');
    parent text;
    kept uuid[];
begin
    execute format('lock table millrace.%I, millrace.%I, millrace.%I in access exclusive mode',
        'job_' || d, 'attempt_' || d, 'result_' || d);
    execute format('select array_agg(id) from (select j.id from millrace.%I j '
        'left join millrace.%I r on r.id = j.id where r.id is null or r.finished_at >= '
        'clock_timestamp() - make_interval(days => $1) limit $2) x',
        'job_' || d, 'result_' || d) into kept using retention_days, stragglers_max + 1;
    if cardinality(kept) > stragglers_max then
        return false;
    end if;
    foreach parent in array '{job,attempt,result}'::text[] loop
        execute format('alter table millrace.%I detach partition millrace.%I',
            parent, parent || '_' || d);
        execute format('insert into millrace.%I select * from millrace.%I where id = any ($1)',
            parent, parent || '_' || d) using kept;
        execute format('drop table millrace.%I', parent || '_' || d);
    end loop;
    return true;
end $$;
comment on function millrace.day_drop(date, integer, integer) is
    'Drops a day. Jobs that are not finished, or not long enough, are first moved into the '
    'tables *_rest; false if these are too many, then the day stays.';

create function millrace.rest_sweep(retention_days integer) returns bigint language sql
begin atomic
    with old as (
        delete from millrace.result_rest r
        where r.finished_at < clock_timestamp() - make_interval(days => greatest(retention_days, 1))
        returning r.id
    ), attempts as (
        delete from millrace.attempt_rest a using old where a.id = old.id
    ), jobs as (
        delete from millrace.job_rest j using old where j.id = old.id returning j.id
    )
    select count(*) from jobs;
end;
comment on function millrace.rest_sweep(integer) is 'Removes finished jobs without a day.';

-- ---- payloads as JSON --------------------------------------------------------------------------------

create function millrace.msgpack_uint(b bytea, at integer, bytes integer) returns numeric
language plpgsql immutable strict parallel safe as $$
declare
    v numeric := 0;
begin
    for i in at .. at + bytes - 1 loop
        v := v * 256 + get_byte(b, i);
    end loop;
    return v;
end $$;

create function millrace.msgpack_float(b bytea, at integer, bytes integer) returns text
language plpgsql immutable strict parallel safe as $$
declare
    fraction_bits integer := case bytes when 4 then 23 else 52 end;
    exponent_max integer := case bytes when 4 then 255 else 2047 end;
    bits numeric := millrace.msgpack_uint(b, at, bytes);
    negative boolean := get_byte(b, at) >= 128;
    fraction float8;
    exponent integer;
begin
    if negative then
        bits := bits - 2::numeric ^ (bytes * 8 - 1);
    end if;
    exponent := div(bits, 2::numeric ^ fraction_bits)::integer;
    fraction := mod(bits, 2::numeric ^ fraction_bits)::float8;
    if exponent = exponent_max then
        return case when fraction > 0 then '"NaN"' when negative then '"-Infinity"'
            else '"Infinity"' end;
    end if;
    if exponent = 0 then
        exponent := 1;
    else
        fraction := fraction + power(2::float8, fraction_bits);
    end if;
    exponent := exponent - exponent_max / 2 - fraction_bits;
    return case when negative then '-' else '' end
        || (fraction * power(2::float8, exponent))::text;
end $$;

create function millrace.msgpack_json(b bytea, at integer, depth integer, out json text,
    out next integer) language plpgsql immutable strict parallel safe as $$
declare
    tag integer := get_byte(b, at);
    type text;    -- of what has a length: str, bin, array, map
    n bigint;     -- its length
    width integer; -- bytes of the length or of the number
    parts text[];
    item record;
begin
    if depth < 0 then
        raise exception 'nested too deeply';
    end if;
    next := at + 1;
    if tag < 128 then
        json := tag::text;
    elsif tag >= 224 then
        json := (tag - 256)::text;
    elsif tag < 144 then
        type := 'map'; n := tag & 15;
    elsif tag < 160 then
        type := 'array'; n := tag & 15;
    elsif tag < 192 then
        type := 'str'; n := tag & 31;
    elsif tag = 192 then
        json := 'null';
    elsif tag in (194, 195) then
        json := case tag when 194 then 'false' else 'true' end;
    elsif tag in (202, 203) then
        width := case tag when 202 then 4 else 8 end;
        json := millrace.msgpack_float(b, next, width);
        next := next + width;
    elsif tag between 204 and 211 then
        width := 1 << ((tag - 204) % 4);
        json := (millrace.msgpack_uint(b, next, width) - case when tag >= 208
            and get_byte(b, next) >= 128 then 2::numeric ^ (width * 8) else 0 end)::numeric(30)::text;
        next := next + width;
    elsif tag in (196, 197, 198, 217, 218, 219, 220, 221, 222, 223) then
        type := case when tag < 200 then 'bin' when tag < 220 then 'str' when tag < 222
            then 'array' else 'map' end;
        width := case when tag in (196, 217) then 1 when tag in (197, 218, 220, 222) then 2
            else 4 end;
        n := millrace.msgpack_uint(b, next, width);
        next := next + width;
    else
        raise exception 'not a type of ours';
    end if;

    if type in ('str', 'bin') then
        if next + n > octet_length(b) then
            raise exception 'cut off';
        end if;
        json := to_json(case type when 'str'
            then convert_from(substring(b from next + 1 for n::integer), 'UTF8')
            else '\x' || encode(substring(b from next + 1 for n::integer), 'hex') end)::text;
        next := next + n;
    elsif type is not null then
        parts := '{}';
        for i in 1 .. n loop
            item := millrace.msgpack_json(b, next, depth - 1);
            next := item.next;
            if type = 'array' then
                parts := parts || item.json;
                continue;
            end if;
            -- JSON's keys are strings: others are spelled out.
            if left(item.json, 1) <> '"' then
                item.json := to_json(item.json)::text;
            end if;
            parts := parts || item.json;
            item := millrace.msgpack_json(b, next, depth - 1);
            next := item.next;
            parts[i] := parts[i] || ':' || item.json;
        end loop;
        json := case type when 'array' then '[' || array_to_string(parts, ',') || ']'
            else '{' || array_to_string(parts, ',') || '}' end;
    end if;
end $$;

create function millrace.msgpack_to_jsonb(b bytea) returns jsonb
language plpgsql immutable strict parallel safe as $$
declare
    v record;
begin
    v := millrace.msgpack_json(b, 0, 32);
    if v.next <> octet_length(b) then
        return null;
    end if;
    return v.json::jsonb;
exception when others then
    return null;
end $$;
comment on function millrace.msgpack_to_jsonb(bytea) is
    'Payloads and bodies for people: bin becomes "\x..." text, NaN and infinities strings, other '
    'keys than strings are spelled out. Null for what is not one whole msgpack value.';

-- ---- for people ------------------------------------------------------------------------------------------

create view millrace.jobs as
select j.id, j.kind, j.queue,
    coalesce(millrace.outcome_word(r.outcome),
        case when a.attempt is null then 'waiting' else 'retrying' end) as state,
    j.priority, j.lane, coalesce(r.attempt, a.attempt, 0) as attempts, j.submitted_at, j.run_at,
    case when r.id is null then a.retry_at end as retry_at, j.expires_at,
    r.started_at, r.finished_at, coalesce(r.worker, a.worker) as worker,
    case when r.outcome = 1 then null else coalesce(r.error, a.error) end as error,
    millrace.msgpack_to_jsonb(j.payload) as payload,
    millrace.msgpack_to_jsonb(r.body) as result,
    j.submitted_by, j.trace, j.shard
from millrace.job j
left join millrace.result r on r.id = j.id
left join lateral (
    select a.attempt, a.retry_at, a.worker, a.error from millrace.attempt a where a.id = j.id
    order by a.attempt desc limit 1
) a on true;
comment on view millrace.jobs is 'Each job with its state in words (waiting, which includes running; '
    'retrying, succeeded, failed, cancelled, expired), its payload and result as JSON.';

create view millrace.attempts as
select a.id, a.attempt, millrace.attempt_word(a.outcome) as outcome, a.worker, a.started_at,
    a.finished_at, a.retry_at, a.error
from millrace.attempt a;
comment on view millrace.attempts is 'Attempts that did not finish their job, in words.';

create view millrace.queues as
select coalesce(q.name, c.queue) as queue, coalesce(q.paused, false) as paused,
    coalesce(c.unfinished, 0) as unfinished, c.oldest
from millrace.queue q
full join (
    select j.queue, count(*) as unfinished, min(j.submitted_at) as oldest
    from millrace.job j
    where not exists (select from millrace.result r where r.id = j.id)
    group by j.queue
) c on c.queue = q.name;
comment on view millrace.queues is 'Queues that have a policy or unfinished jobs.';
