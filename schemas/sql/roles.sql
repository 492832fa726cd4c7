-- Roles and their rights, all in one place. `millrace migrate` applies this after the files of a set,
-- every time, in one transaction: what is as it should be stays, what is not is mended. Roles belong
-- to the whole cluster, and several databases of it may be migrated at the same time. The
-- page beside this file (README.md) says who is to be a member of what.

-- ---- roles ----------------------------------------------------------------------------------------

do $roles$
declare
    needed constant name[] := '{millrace_owner,millrace_broker,millrace_worker,millrace_reader}'
        ::name[] || case when to_regnamespace('ride') is not null then '{millrace_ride}'::name[] end;
    todo constant text := format('As an administrator: %sgrant pg_signal_backend to '
        'millrace_owner; grant millrace_owner to %I; then run millrace migrate again.',
        (select string_agg(format('create role %I; ', n), '') from unnest(needed) n
            where not exists (select from pg_roles r where r.rolname = n)), current_user);
    is_super constant boolean :=
        (select r.rolsuper from pg_roles r where r.rolname = current_user);
    role name;
    given record;
begin
    foreach role in array needed loop
        continue when exists (select from pg_roles r where r.rolname = role);
        begin
            execute format('create role %I nologin', role);
        exception
            when duplicate_object or unique_violation then
                null; -- another database was first
            when insufficient_privilege then
                raise exception 'the role % does not exist, and % may not create roles', role,
                    current_user using errcode = '42501', hint = todo;
        end;
    end loop;
    for given in select * from (values ('pg_signal_backend'::name, 'millrace_owner'::name, true),
            ('millrace_owner', current_user, not is_super)) g (role, to_whom, is_needed)
        where g.is_needed loop
        continue when exists (select from pg_auth_members m
            join pg_roles a on a.oid = m.roleid join pg_roles b on b.oid = m.member
            where a.rolname = given.role and b.rolname = given.to_whom)
            or pg_has_role(given.to_whom, given.role, 'usage');
        begin
            execute format('grant %I to %I', given.role, given.to_whom);
        exception
            when unique_violation or internal_error then
                null; -- likewise ("tuple concurrently updated")
            when insufficient_privilege then
                raise exception '% is not a member of %, and % may not make it one',
                    given.to_whom, given.role, current_user
                    using errcode = '42501', hint = todo;
        end;
    end loop;
end $roles$;

-- ---- owner, search path -----------------------------------------------------------------------------

do $owner$
declare
    owner constant oid := 'millrace_owner'::regrole;
    it record;
begin
    if (select n.nspowner from pg_namespace n where n.nspname = 'millrace') <> owner then
        alter schema millrace owner to millrace_owner;
    end if;
    -- Sequences follow their tables.
    for it in select c.oid::regclass as name from pg_class c
        where c.relnamespace = 'millrace'::regnamespace and c.relowner <> owner
            and c.relkind in ('r', 'p', 'v') loop
        execute format('alter table %s owner to millrace_owner', it.name);
    end loop;
    for it in select p.oid::regprocedure as name from pg_proc p
        where p.pronamespace = 'millrace'::regnamespace and p.proowner <> owner loop
        execute format('alter function %s owner to millrace_owner', it.name);
    end loop;
    -- What a function means is not for its caller to say. Those whose body was parsed when they
    -- were made have no names left to look up.
    for it in select p.oid::regprocedure as name from pg_proc p
        where p.pronamespace = 'millrace'::regnamespace and p.prosqlbody is null
            and not exists (select from unnest(p.proconfig) c where c like 'search_path=%') loop
        execute format('alter function %s set search_path = pg_catalog, millrace, pg_temp',
            it.name);
    end loop;
end $owner$;

-- ---- rights -----------------------------------------------------------------------------------------

set local role millrace_owner;

alter default privileges for role millrace_owner revoke execute on functions from public;
revoke all on schema millrace from public;
revoke all on all tables in schema millrace from public, millrace_broker, millrace_worker,
    millrace_reader;
revoke all on all sequences in schema millrace from public, millrace_broker, millrace_worker,
    millrace_reader;
revoke all on all functions in schema millrace from public, millrace_broker, millrace_worker,
    millrace_reader;
grant usage on schema millrace to millrace_broker, millrace_worker, millrace_reader;

-- Pure, or for everybody who may see a job at all.
grant execute on function millrace.id_floor(timestamptz), millrace.id_floor(uuid),
    millrace.id_ms(uuid), millrace.outcome_word(smallint), millrace.attempt_word(smallint),
    millrace.reason_word(smallint, text), millrace.redriven_as(uuid),
    millrace.msgpack_uint(bytea, integer, integer),
    millrace.msgpack_float(bytea, integer, integer),
    millrace.msgpack_json(bytea, integer, integer), millrace.msgpack_to_jsonb(bytea),
    millrace.seal_key(bytea)
    to millrace_broker, millrace_worker, millrace_reader;

-- The broker: what it stores, once; its shard, queues and kinds; the inbox, which it empties.
grant select on millrace.migration, millrace.principal, millrace.principal_key,
    millrace.principal_grant, millrace.principals, millrace.rights, millrace.jobs,
    millrace.attempts, millrace.queues, millrace.dead to millrace_broker;
grant select, insert on millrace.job, millrace.attempt, millrace.result, millrace.kind
    to millrace_broker;
grant select, insert, update on millrace.shard, millrace.queue to millrace_broker;
grant select, insert, delete on millrace.inbox to millrace_broker;
grant update (id) on millrace.inbox to millrace_broker; -- to lock rows; it changes none
grant execute on function millrace.new_id(), millrace.fence(integer, bigint),
    millrace.days_missing_list(integer), millrace.days_missing(integer),
    millrace.days_make(integer), millrace.days_old(integer),
    millrace.day_drop(date, integer, integer), millrace.rest_sweep(integer),
    millrace.end_sessions(text[]),
    millrace.audit_add(text, text, text, text, text, bigint, text, text, integer, bigint,
        timestamptz),
    millrace.principal_must(text), millrace.principal_add(text, text, text, text, text),
    millrace.principal_grant_put(text, text, boolean, text, text, text),
    millrace.principal_grant_drop(text, text, text, text),
    millrace.principal_revoke(text, boolean), millrace.principal_rotate(text, text, boolean),
    millrace.principal_limit(text, integer, integer, bigint, integer)
    to millrace_broker;

-- A worker: results of jobs that there are, follow-up jobs, and what became of other jobs. Arguments
-- come from the broker: it reads none of its own accord.
grant select on millrace.migration, millrace.attempt, millrace.result to millrace_worker;
grant select (id, submitted_by) on millrace.job to millrace_worker; -- whose its follow-up is
grant insert (id, outcome, attempt, worker, started_at, finished_at, body) on millrace.result
    to millrace_worker;
grant insert (id, kind, queue, payload, priority, lane, run_at, expires_at, timeout_ms,
    attempts_max, backoff_base_ms, backoff_cap_ms, backoff_factor_percent,
    backoff_jitter_percent, submitted_by, trace) on millrace.inbox to millrace_worker;
grant execute on function millrace.new_id(), millrace.wrong_rows(bigint, bigint),
    millrace.refuse_finish(uuid),
    millrace.finish(uuid, integer, text, timestamptz, timestamptz, bytea),
    millrace.finish_group(uuid[], integer[], text, timestamptz[], timestamptz[], bytea[])
    to millrace_worker;

-- People and dashboards.
grant select on millrace.jobs, millrace.attempts, millrace.queues, millrace.dead, millrace.seals
    to millrace_reader;

reset role;

-- ---- packs --------------------------------------------------------------------------------------------

-- Handlers' tables are theirs: a worker that runs these kinds is a member of this role, too.
do $packs$
begin
    if to_regnamespace('ride') is not null then
        revoke all on schema ride from public;
        grant usage on schema ride to millrace_ride;
        grant select, insert, update, delete on all tables in schema ride to millrace_ride;
        grant usage on all sequences in schema ride to millrace_ride;
        grant execute on all functions in schema ride to millrace_ride;
    end if;
end $packs$;
