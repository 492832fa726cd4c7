-- Dead jobs: why one failed, and which job was submitted in its place.
-- Columns are added without a rewrite; the two indexes hold failed and redriven jobs only, so that
-- the many that succeed pay nothing for them.

alter table millrace.job add column redrive_of uuid;
alter table millrace.inbox add column redrive_of uuid;
alter table millrace.result add column reason smallint;
comment on column millrace.job.redrive_of is
    'the dead job that this one was submitted in place of; null: none';
comment on column millrace.result.reason is
    'of a failed job: 1 its attempts are used up, 2 it failed for good, 3 quarantined';
comment on column millrace.attempt.started_at is
    'null: it was lost before it began to run, and does not count against losses_max';

create index job_redrive_of on millrace.job (redrive_of) where redrive_of is not null;
create index inbox_redrive_of on millrace.inbox (redrive_of) where redrive_of is not null;
create index result_dead on millrace.result (finished_at, id) where outcome = 2;

create function millrace.reason_word(reason smallint, error text) returns text
language sql immutable parallel safe
return case reason when 1 then 'used-up' when 2 then 'for-good' when 3 then 'quarantined'
    else case when error like 'quarantined%' then 'quarantined' else 'unknown' end end;
comment on function millrace.reason_word(smallint, text) is
    'Why a failed job failed, in a word; rows of earlier versions have no number.';

create function millrace.redriven_as(id uuid) returns uuid
language sql stable parallel safe
return coalesce(
    (select (array_agg(j.id order by j.id desc))[1] from millrace.job j where j.redrive_of = $1),
    (select (array_agg(i.id order by i.id desc))[1] from millrace.inbox i where i.redrive_of = $1));
comment on function millrace.redriven_as(uuid) is
    'The newest job that was submitted in place of a dead one; null: none.';

create view millrace.dead as
select r.id, j.kind, j.queue, r.finished_at, r.attempt as attempts,
    millrace.reason_word(r.reason, r.error) as reason, r.error,
    millrace.redriven_as(r.id) as redriven_as, j.redrive_of, j.priority, j.lane, j.submitted_at,
    coalesce(r.worker, (select a.worker from millrace.attempt a
        where a.id = r.id and a.attempt = r.attempt)) as worker,
    millrace.msgpack_to_jsonb(j.payload) as payload
from millrace.result r join millrace.job j on j.id = r.id
where r.outcome = 2;
comment on view millrace.dead is 'Jobs that have failed for ever, with the reason (used-up, for-good, '
    'quarantined, unknown) and the job that was submitted in place of each, if any.';
