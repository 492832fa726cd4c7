-- Several statements in one round trip, several jobs in one transaction.

create function millrace.wrong_rows(touched bigint, wanted bigint) returns boolean
language plpgsql as $$
begin
    raise exception 'it touched % rows, not %', touched, wanted using errcode = 'MR004';
end $$;
comment on function millrace.wrong_rows(bigint, bigint) is
    'A queued statement of a handler touched another number of rows than it demands: raises MR004, '
    'so that the COMMIT behind it does not happen.';

create function millrace.finish_group(ids uuid[], attempts integer[], worker text,
    started_at timestamptz[], finished_at timestamptz[], bodies bytea[]) returns void
language plpgsql as $$
declare
    written bigint;
begin
    insert into millrace.result (id, outcome, attempt, worker, started_at, finished_at, body)
    select o.id, 1, o.attempt, $3, o.started_at, coalesce(o.finished_at, clock_timestamp()), o.body
    from unnest($1, $2, $4, $5, $6) o (id, attempt, started_at, finished_at, body)
    where exists (select from millrace.job j where j.id = o.id offset 0)
    order by o.id
    on conflict do nothing;
    get diagnostics written = row_count;
    if written <> cardinality($1) then
        raise exception '% jobs of % are finished already, or do not exist',
            cardinality($1) - written, cardinality($1) using errcode = 'MR002';
    end if;
end $$;
comment on function millrace.finish_group(uuid[], integer[], text, timestamptz[], timestamptz[],
    bytea[]) is
    'Last statement of a transaction that several jobs share: their succeeded results. Raises MR002 '
    'unless each of them is written, so that the COMMIT behind it does not happen.';
