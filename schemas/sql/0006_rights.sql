-- Who may do what: principals, their keys, and what is granted to or denied them. The broker reads
-- all three whenever one of them changes, and decides in its own memory; a row that says more than
-- it may is refused here, whoever writes it.

-- What cannot be: '*' anywhere but at the end. 'ride.*' is every name that begins with 'ride.'.
create function millrace.is_pattern(pattern text) returns boolean
language sql immutable parallel safe
return pattern ~ '^[!-~]{1,64}$' and position('*' in pattern) in (0, length(pattern));
comment on function millrace.is_pattern(text) is
    'A name of a queue or kind; or the beginning of names and a star; or the star alone: all.';

create table millrace.principal (
    name text not null primary key check (name ~ '^[!-~]{1,64}$'),
    number integer not null unique check (number between 1 and 32767),
    added_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz,
    jobs_per_s integer check (jobs_per_s > 0),
    waiting_max integer check (waiting_max > 0),
    payload_bytes_max bigint check (payload_bytes_max > 0),
    connections_max integer check (connections_max > 0)
);
comment on table millrace.principal is 'Who may do anything at all. Never deleted: jobs name them.';
comment on column millrace.principal.name is 'submitted_by of its jobs; local and anyone are for peers without a key';
comment on column millrace.principal.number is 'by which the broker knows it; given by a trigger';
comment on column millrace.principal.revoked_at is 'since when it may do nothing; null: it may what is granted';
comment on column millrace.principal.jobs_per_s is 'jobs that it may submit in a second; null: no limit';
comment on column millrace.principal.waiting_max is 'of its jobs that may be unfinished; null: no limit';
comment on column millrace.principal.payload_bytes_max is 'of arguments of its unfinished jobs; null: no limit';
comment on column millrace.principal.connections_max is 'at a time; null: no limit';

create table millrace.principal_key (
    key text not null primary key check (key ~ '^[0-9a-zA-Z.:+=^!/*?&<>()[\]{}@%$#-]{40}$'),
    principal text not null references millrace.principal
        check (principal not in ('local', 'anyone')),
    added_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz
);
create index principal_key_principal on millrace.principal_key (principal);
comment on table millrace.principal_key is
    'Public keys (CURVE, 40 characters of Z85). Several for one principal while keys change hands.';
comment on column millrace.principal_key.principal is 'for ever: a key never becomes another''s';
comment on column millrace.principal_key.revoked_at is 'since when it opens nothing; null: it is good';

create table millrace.principal_grant (
    id bigint generated always as identity primary key,
    principal text not null references millrace.principal,
    role text check (role in ('front-end', 'worker', 'operator', 'auditor', 'administrator')),
    action text check (action in ('submit', 'run', 'watch', 'fetch', 'cancel', 'operate',
        'administer')),
    is_denied boolean not null default false,
    queue text not null default '*' check (millrace.is_pattern(queue)),
    kind text not null default '*' check (millrace.is_pattern(kind)),
    scope text check (scope in ('own', 'any')),
    added_at timestamptz not null default clock_timestamp(),
    check (num_nonnulls(role, action) = 1),
    check ((scope is not null) = (not is_denied and coalesce(action, '') in ('watch', 'fetch',
        'cancel'))),
    check (coalesce(role, action) not in ('administrator', 'administer')
        or (queue = '*' and kind = '*'))
);
create unique index principal_grant_once on millrace.principal_grant
    (principal, coalesce(role, action), is_denied, queue, kind);
comment on table millrace.principal_grant is
    'What a principal may do, and in which queues and with which kinds. What is not granted is '
    'refused, and what is denied is refused although it is granted.';
comment on column millrace.principal_grant.role is 'short for several actions; else null';
comment on column millrace.principal_grant.action is 'one action; else null';
comment on column millrace.principal_grant.queue is 'pattern: a name, its beginning and *, or *';
comment on column millrace.principal_grant.kind is 'pattern, likewise';
comment on column millrace.principal_grant.scope is
    'of watch, fetch and cancel: its own jobs only, or any; null: as the role has it';

-- ---- what never changes ------------------------------------------------------------------------------

create function millrace.principal_judge() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'the principal % stays', old.name
            using errcode = '23001', hint = 'Revoke it: millrace principal revoke ' || old.name;
    end if;
    if tg_op = 'UPDATE' then
        if new.name <> old.name or new.number <> old.number then
            raise exception 'the name of a principal never changes' using errcode = '23001';
        end if;
        return new;
    end if;
    -- Two at a time: the second waits for the first one's number.
    perform pg_advisory_xact_lock(28018, 3);
    select coalesce(max(p.number), 0) + 1 into new.number from millrace.principal p;
    return new;
end $$;
create trigger judge before insert or update or delete on millrace.principal
    for each row execute function millrace.principal_judge();

create function millrace.principal_key_judge() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' or new.key <> old.key or new.principal <> old.principal then
        raise exception 'a key belongs to one principal for ever'
            using errcode = '23001', hint = 'Revoke it, and add another one.';
    end if;
    return new;
end $$;
create trigger judge before update or delete on millrace.principal_key
    for each row execute function millrace.principal_key_judge();

-- ---- telling the brokers -------------------------------------------------------------------------------

create table millrace.rights (
    is_one boolean not null primary key default true check (is_one),
    version bigint not null
);
insert into millrace.rights (version) values (1);
comment on table millrace.rights is
    'One row: how often principals, keys or grants were changed. A broker compares it whenever it '
    'renews its lease, so that it finds a change although it heard no notification.';

create function millrace.rights_changed() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    update millrace.rights set version = version + 1;
    perform pg_notify('millrace_rights', '');
    return null;
end $$;
create trigger told after insert or update or delete or truncate on millrace.principal
    for each statement execute function millrace.rights_changed();
create trigger told after insert or update or delete or truncate on millrace.principal_key
    for each statement execute function millrace.rights_changed();
create trigger told after insert or update or delete or truncate on millrace.principal_grant
    for each statement execute function millrace.rights_changed();

-- ---- the first two ---------------------------------------------------------------------------------------

insert into millrace.principal (name) values ('local');
insert into millrace.principal (name) values ('anyone');
insert into millrace.principal_grant (principal, role) values
    ('local', 'front-end'), ('local', 'worker'), ('local', 'operator'), ('local', 'auditor'),
    ('local', 'administrator'), ('anyone', 'front-end'), ('anyone', 'worker');

-- ---- for administrators: the command and the broker call these -------------------------------------------

create function millrace.principal_must(name text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from millrace.principal p where p.name = $1) then
        raise exception 'there is no principal "%"', $1
            using errcode = 'MR005', hint = 'millrace principal list';
    end if;
end $$;
comment on function millrace.principal_must(text) is 'Raises MR005 if there is none of that name.';

create function millrace.principal_add(name text, key text, role text, queue text, kind text)
returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into millrace.principal (name) values ($1);
    if $2 is not null then
        insert into millrace.principal_key (key, principal) values ($2, $1);
    end if;
    if $3 is not null then
        perform millrace.principal_grant_put($1, $3, false, $4, $5, null);
    end if;
    return format('%s is a principal', $1)
        || case when $3 is null then ' without any right yet' else ' with the role ' || $3 end;
exception when unique_violation then
    raise exception 'there is a principal of this name, or this key belongs to one'
        using errcode = '23505', hint = 'millrace principal list';
end $$;

create function millrace.principal_grant_put(name text, what text, is_denied boolean, queue text,
    kind text, scope text) returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    is_role constant boolean := $2 in ('front-end', 'worker', 'operator', 'auditor',
        'administrator');
    is_scoped constant boolean := not $3 and $2 in ('watch', 'fetch', 'cancel');
begin
    perform millrace.principal_must($1);
    if not is_role and $2 not in ('submit', 'run', 'watch', 'fetch', 'cancel', 'operate',
            'administer') then
        raise exception '"%" is neither a role nor an action', $2 using errcode = '22023',
            hint = 'Roles: front-end, worker, operator, auditor, administrator. Actions: submit, '
                'run, watch, fetch, cancel, operate, administer.';
    end if;
    if not (millrace.is_pattern(coalesce($4, '*')) and millrace.is_pattern(coalesce($5, '*'))) then
        raise exception 'a pattern is a name, or the beginning of names and a star at the end'
            using errcode = '22023';
    end if;
    if $6 is not null and not (is_scoped and $6 in ('own', 'any')) then
        raise exception 'own or any goes with watch, fetch and cancel, where they are granted'
            using errcode = '22023';
    end if;
    if $2 in ('administrator', 'administer') and (coalesce($4, '*') <> '*'
            or coalesce($5, '*') <> '*') then
        raise exception 'who administers does so for all queues and kinds' using errcode = '22023';
    end if;
    insert into millrace.principal_grant as g (principal, role, action, is_denied, queue, kind, scope)
    values ($1, case when is_role then $2 end, case when not is_role then $2 end, $3,
        coalesce($4, '*'), coalesce($5, '*'),
        case when is_scoped then coalesce($6, 'own') else $6 end)
    on conflict (principal, coalesce(role, action), is_denied, queue, kind)
    do update set scope = excluded.scope;
    return format('%s is %s %s (queue %s, kind %s)', $2,
        case when $3 then 'denied to' else 'granted to' end, $1, coalesce($4, '*'), coalesce($5, '*'));
end $$;

create function millrace.principal_grant_drop(name text, what text, queue text, kind text)
returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    dropped bigint;
begin
    perform millrace.principal_must($1);
    delete from millrace.principal_grant g
    where g.principal = $1 and coalesce(g.role, g.action) = $2
        and g.queue = coalesce($3, '*') and g.kind = coalesce($4, '*');
    get diagnostics dropped = row_count;
    if dropped = 0 then
        raise exception '% has no such grant: % for queue % and kind %', $1, $2,
            coalesce($3, '*'), coalesce($4, '*')
            using errcode = 'MR005', hint = 'millrace principal show ' || $1;
    end if;
    return format('%s is neither granted to nor denied %s any more (queue %s, kind %s)', $2, $1,
        coalesce($3, '*'), coalesce($4, '*'));
end $$;

create function millrace.principal_revoke(name text, is_revoked boolean) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform millrace.principal_must($1);
    update millrace.principal p
    set revoked_at = case when $2 then coalesce(p.revoked_at, clock_timestamp()) end
    where p.name = $1;
    return format(case when $2 then '%s is revoked: it may do nothing any more'
        else '%s is a principal again' end, $1);
end $$;

create function millrace.principal_rotate(name text, key text, is_retiring boolean) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    newest text;
    retired bigint := 0;
begin
    perform millrace.principal_must($1);
    -- Again after a lost answer: there is nothing to add.
    if $2 is not null and not exists (select from millrace.principal_key k
            where k.key = $2 and k.principal = $1 and k.revoked_at is null) then
        insert into millrace.principal_key (key, principal) values ($2, $1);
    end if;
    if $3 then
        select k.key into newest from millrace.principal_key k
        where k.principal = $1 and k.revoked_at is null and (k.key = $2 or $2 is null)
        order by k.added_at desc, k.key limit 1;
        update millrace.principal_key k set revoked_at = clock_timestamp()
        where k.principal = $1 and k.revoked_at is null and k.key <> newest;
        get diagnostics retired = row_count;
    end if;
    return format('%s has %s good keys; %s retired', $1,
        (select count(*) from millrace.principal_key k
            where k.principal = $1 and k.revoked_at is null), retired);
exception when unique_violation then
    raise exception 'this key belongs to a principal already, or was retired'
        using errcode = '23505', hint = 'Make a new one: millrace key new NAME';
end $$;

create function millrace.principal_limit(name text, jobs_per_s integer, waiting_max integer,
    payload_bytes_max bigint, connections_max integer) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform millrace.principal_must($1);
    update millrace.principal p set
        jobs_per_s = nullif(coalesce($2, p.jobs_per_s), 0),
        waiting_max = nullif(coalesce($3, p.waiting_max), 0),
        payload_bytes_max = nullif(coalesce($4, p.payload_bytes_max), 0),
        connections_max = nullif(coalesce($5, p.connections_max), 0)
    where p.name = $1;
    return format('the limits of %s are set', $1);
end $$;
comment on function millrace.principal_limit(text, integer, integer, bigint, integer) is
    'Null leaves a limit as it is, 0 takes it away.';

create view millrace.principals as
select p.name, p.revoked_at is not null as is_revoked,
    (select count(*) from millrace.principal_key k
        where k.principal = p.name and k.revoked_at is null) as keys,
    (select string_agg(case when g.is_denied then 'not ' else '' end || coalesce(g.role, g.action)
        || case g.scope when 'any' then ' any' else '' end
        || case when g.queue <> '*' then ' queue=' || g.queue else '' end
        || case when g.kind <> '*' then ' kind=' || g.kind else '' end, ', ' order by g.id)
        from millrace.principal_grant g where g.principal = p.name) as rights,
    p.jobs_per_s, p.waiting_max, p.payload_bytes_max, p.connections_max
from millrace.principal p;
comment on view millrace.principals is 'Principals with their rights in words.';
