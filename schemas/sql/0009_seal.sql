-- Sealed payloads: only clients and workers can read them. To the database they are one msgpack ext value
-- (schemas/wire/README.md, "Sealed payloads"); people are shown which key it is sealed with.

create function millrace.seal_key(payload bytea) returns text
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp as $$
declare
    at integer; -- of the type, behind a length of 1, 2 or 4 bytes
begin
    if octet_length(payload) < 16 or get_byte(payload, 0) not between 199 and 201 then
        return null;
    end if;
    at := 1 + (1 << (get_byte(payload, 0) - 199));
    if get_byte(payload, at) <> 83 or get_byte(payload, at + 1) <> 1 then
        return null;
    end if;
    return encode(substring(payload from at + 3 for 8), 'hex');
end $$;
comment on function millrace.seal_key(bytea) is
    'The id of the key that a payload is sealed with; null if it is not. Its first 16 bytes will do.';

-- As before, and what is sealed is {"sealed": key}.
create or replace function millrace.msgpack_to_jsonb(b bytea) returns jsonb
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp as $$
declare
    v record;
    key text := millrace.seal_key(b);
begin
    if key is not null then
        return jsonb_build_object('sealed', key);
    end if;
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
    'keys than strings are spelled out; of a sealed payload {"sealed": key}. Null for what is not one '
    'whole msgpack value.';

create view millrace.seals as
select x.key, count(*) filter (where x.outcome is null) as unfinished,
    count(*) filter (where x.outcome = 2) as dead, count(*) as jobs
from (
    select millrace.seal_key(substring(j.payload for 16)) as key, r.outcome
    from millrace.job j left join millrace.result r on r.id = j.id
    union all
    select millrace.seal_key(substring(i.payload for 16)), null from millrace.inbox i
) x
group by x.key;
comment on view millrace.seals is 'How many jobs are sealed with which key (null: not sealed): one without '
    'unfinished jobs, and without dead ones that may be redriven, can be dropped from keyrings.';
