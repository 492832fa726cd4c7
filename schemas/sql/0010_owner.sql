-- Whose a job is: `submitted_by` names a principal, no longer the session that submitted it. What
-- was submitted before there were principals belongs to `local`, for whom everybody spoke. This
-- writes every job's row once.

comment on column millrace.job.submitted_by is
    'whose it is: the principal that submitted it, or the database role that put it into the '
    'inbox; a follow-up job is its parent''s owner''s; null: nobody''s';

update millrace.job set submitted_by = 'local' where submitted_by is distinct from 'local';
update millrace.inbox set submitted_by = 'local' where submitted_by is distinct from 'local';
