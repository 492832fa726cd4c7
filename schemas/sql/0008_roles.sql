-- What the broker's role may do that its own rights do not reach, as functions of the owner: days,
-- sessions of lost workers, principals. Each does one thing within bounds. Who may call them, and
-- all other rights, are in roles.sql, which `millrace migrate` applies after every file.

-- ---- days -----------------------------------------------------------------------------------------

create or replace function millrace.days_make(days_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, millrace, pg_temp as $$
declare
    parent text;
    d date;
    made integer := 0;
begin
    -- One at a time; whoever waited finds nothing left to make.
    perform pg_advisory_xact_lock(28018, 1);
    for d in select * from millrace.days_missing_list(least(days_ahead, 31)) loop
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
    'Makes what is missing of yesterday to so many days from today (UTC, at most 31); returns how '
    'many.';

create or replace function millrace.day_drop(day date, retention_days integer,
    stragglers_max integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, millrace, pg_temp as $$
declare
    d text := to_char(day, 'YYYYMMDD');
    parent text;
    kept uuid[];
begin
    if not exists (select from millrace.days_old(retention_days) x where x = day) then
        raise exception '% is not over, or is no day of ours', day using errcode = '22023';
    end if;
    execute format('lock table millrace.%I, millrace.%I, millrace.%I in access exclusive mode',
        'job_' || d, 'attempt_' || d, 'result_' || d);
    execute format('select array_agg(id) from (select j.id from millrace.%I j '
        'left join millrace.%I r on r.id = j.id where r.id is null or r.finished_at >= '
        'clock_timestamp() - make_interval(days => greatest($1, 1)) limit $2) x',
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
    'Drops a day that is over. Jobs that are not finished, or not long enough, are first moved into '
    'the tables *_rest; false if these are too many, then the day stays.';

alter function millrace.rest_sweep(integer) security definer
    set search_path = pg_catalog, millrace, pg_temp;

-- ---- sessions of lost workers -----------------------------------------------------------------------

create function millrace.end_sessions(names text[]) returns bigint
language sql volatile security definer set search_path = pg_catalog, millrace, pg_temp
begin atomic
    select count(pg_catalog.pg_terminate_backend(a.pid, 2000))
    from pg_catalog.pg_stat_activity a join pg_catalog.pg_roles r on r.oid = a.usesysid
    where a.application_name = any (names) and a.application_name like 'mr:%'
        and a.datname = current_database() and a.pid <> pg_backend_pid()
        and a.usename <> session_user and not r.rolsuper
        and pg_has_role(r.oid, (select w.oid from pg_catalog.pg_roles w
            where w.rolname = 'millrace_worker'), 'usage')
        and not pg_has_role(r.oid, 'millrace_owner', 'usage');
end;
comment on function millrace.end_sessions(text[]) is
    'Ends the sessions in this database that have one of these names and belong to a role in '
    'millrace_worker; returns how many. Those of the caller''s own role it may end itself.';

-- ---- what others call ---------------------------------------------------------------------------------

-- Views are read with their owner's rights, but functions in them run with the reader's.
alter function millrace.redriven_as(uuid) security definer
    set search_path = pg_catalog, millrace, pg_temp;

do $$
declare
    f regprocedure;
begin
    for f in select p.oid from pg_catalog.pg_proc p
        where p.pronamespace = 'millrace'::regnamespace and p.proname in ('principal_add',
            'principal_grant_put', 'principal_grant_drop', 'principal_revoke',
            'principal_rotate', 'principal_limit', 'principal_must') loop
        execute format('alter function %s security definer', f);
    end loop;
end $$;

-- ---- who changed whose rights -------------------------------------------------------------------------

create function millrace.principal_audit() returns trigger language plpgsql security definer
set search_path = pg_catalog, millrace, pg_temp as $$
declare
    was constant jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    is_now constant jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    told text;
begin
    select string_agg(format('%s=%s', c.key, coalesce(c.value, 'null')), ' ' order by c.key)
    into told from jsonb_each_text(coalesce(is_now, was)) c
    where c.key not in ('id', 'number', 'name', 'principal')
        and c.value is distinct from case when is_now is not null then was ->> c.key end;
    perform millrace.audit_add(action => tg_table_name || ' ' || lower(tg_op),
        object => coalesce(is_now, was) ->> case tg_table_name when 'principal' then 'name'
            else 'principal' end,
        principal => nullif(current_setting('millrace.principal', true), ''),
        detail => left(told, 1000));
    return null;
end $$;
comment on function millrace.principal_audit() is
    'Every change of a right is an entry of the audit log, whichever way it is made. The broker says '
    'for whom it acts in the setting millrace.principal.';
create trigger audited after insert or update or delete on millrace.principal
    for each row execute function millrace.principal_audit();
create trigger audited after insert or update or delete on millrace.principal_key
    for each row execute function millrace.principal_audit();
create trigger audited after insert or update or delete on millrace.principal_grant
    for each row execute function millrace.principal_audit();
