-- Who did what, and who was refused. Rows are only ever added; each carries the SHA-256 of its own
-- fields and of the row before it, and the head says which row is the last one, so that a changed,
-- missing, exchanged or cut-off row shows (`millrace audit verify`). The page beside this file
-- (README.md) has the encoding.

create table millrace.audit (
    seq bigint not null primary key,
    at timestamptz not null check (isfinite(at)),
    principal text,
    key text,
    action text not null check (action <> ''),
    object text,
    decision text not null check (decision in ('allowed', 'refused')),
    count bigint not null check (count > 0),
    detail text,
    source text,
    shard integer,
    epoch bigint,
    previous bytea not null check (octet_length(previous) = 32),
    hash bytea not null check (octet_length(hash) = 32),
    check (octet_length(concat(principal, key, action, object, detail, source)) <= 4096)
);
comment on table millrace.audit is
    'Who did what, and who was refused. Append-only; written through audit_add.';
comment on column millrace.audit.seq is 'from 1, without gaps';
comment on column millrace.audit.at is 'when; of several that were gathered, the first';
comment on column millrace.audit.principal is 'who; null: nobody that is known';
comment on column millrace.audit.key is 'the public key they used; null: none';
comment on column millrace.audit.action is 'what was done, or tried';
comment on column millrace.audit.object is 'to what: a job, a queue, a worker, a principal';
comment on column millrace.audit.count is 'how often, within a second';
comment on column millrace.audit.detail is 'why it was refused, or how it was done';
comment on column millrace.audit.source is 'which way it came: a listener, or a database user';
comment on column millrace.audit.shard is 'whose broker wrote it; null: not a broker';
comment on column millrace.audit.epoch is 'under which it was written';
comment on column millrace.audit.previous is 'hash of the row before; of the first: zeros';
comment on column millrace.audit.hash is 'SHA-256 of all other columns, encoded (audit_hash)';

create table millrace.audit_head (
    is_only boolean not null primary key default true check (is_only),
    seq bigint not null,
    hash bytea not null
) with (fillfactor = 50);
comment on table millrace.audit_head is
    'The last row of audit: without it, rows cut off at the end would not be missed.';
insert into millrace.audit_head (seq, hash) values (0, decode(repeat('00', 32), 'hex'));

-- ---- the encoding -------------------------------------------------------------------------------

create function millrace.audit_field(value bytea) returns bytea
language sql immutable parallel safe
return case when value is null then '\x00'::bytea
    else '\x01'::bytea || int4send(octet_length(value)) || value end;

create function millrace.audit_hash(a millrace.audit) returns bytea
language sql stable parallel safe
return sha256(
    millrace.audit_field(convert_to('millrace audit 1', 'UTF8'))
    || millrace.audit_field(convert_to(a.seq::text, 'UTF8'))
    || millrace.audit_field(convert_to(
        trunc(extract(epoch from a.at) * 1000000)::bigint::text, 'UTF8'))
    || millrace.audit_field(convert_to(a.principal, 'UTF8'))
    || millrace.audit_field(convert_to(a.key, 'UTF8'))
    || millrace.audit_field(convert_to(a.action, 'UTF8'))
    || millrace.audit_field(convert_to(a.object, 'UTF8'))
    || millrace.audit_field(convert_to(a.decision, 'UTF8'))
    || millrace.audit_field(convert_to(a.count::text, 'UTF8'))
    || millrace.audit_field(convert_to(a.detail, 'UTF8'))
    || millrace.audit_field(convert_to(a.source, 'UTF8'))
    || millrace.audit_field(convert_to(a.shard::text, 'UTF8'))
    || millrace.audit_field(convert_to(a.epoch::text, 'UTF8'))
    || millrace.audit_field(a.previous));
comment on function millrace.audit_hash(millrace.audit) is
    'What the column hash of this row has to be. Each field is a byte 0 (null), or a byte 1, '
    'its length in 4 bytes, big end first, and its bytes: no two rows have the same encoding.';

-- ---- the only way in --------------------------------------------------------------------------

-- Whoever inserts, and whatever they say of these three columns: a row takes its place behind the
-- last one. The head's row lock lets one at a time in, until its transaction ends.
create function millrace.audit_chain() returns trigger language plpgsql
set search_path = pg_catalog, millrace, pg_temp as $$
declare
    head millrace.audit_head;
begin
    select * into strict head from millrace.audit_head for update;
    new.seq := head.seq + 1;
    new.previous := head.hash;
    new.hash := millrace.audit_hash(new);
    update millrace.audit_head set seq = new.seq, hash = new.hash;
    return new;
end $$;
create trigger chain before insert on millrace.audit
    for each row execute function millrace.audit_chain();

create function millrace.audit_refuse() returns trigger language plpgsql
set search_path = pg_catalog, millrace, pg_temp as $$
begin
    raise exception '% of %.% is not possible: what happened stays written', tg_op,
        tg_table_schema, tg_table_name using errcode = '42501';
end $$;
create trigger refuse before update or delete or truncate on millrace.audit
    for each statement execute function millrace.audit_refuse();
create trigger refuse before insert or delete or truncate on millrace.audit_head
    for each statement execute function millrace.audit_refuse();

create function millrace.audit_add(action text, object text default null,
    decision text default 'allowed', principal text default null, key text default null,
    count bigint default 1, detail text default null, source text default null,
    shard integer default null, epoch bigint default null, at timestamptz default null)
returns bigint language plpgsql security definer
set search_path = pg_catalog, millrace, pg_temp as $$
declare
    seq bigint;
begin
    insert into millrace.audit as a (at, principal, key, action, object, decision, count, detail,
        source, shard, epoch)
    values (coalesce(at, clock_timestamp()), principal, key, action, object, decision, count,
        detail, coalesce(source, 'database user ' || session_user), shard, epoch)
    returning a.seq into seq;
    return seq;
end $$;
comment on function millrace.audit_add(text, text, text, text, text, bigint, text, text, integer,
    bigint, timestamptz) is
    'Writes an entry of the audit log, in the caller''s transaction: what, to what, allowed or '
    'refused, who, with which key, how often, why, which way, shard, epoch, when.';
revoke execute on function millrace.audit_add(text, text, text, text, text, bigint, text, text,
    integer, bigint, timestamptz) from public;
