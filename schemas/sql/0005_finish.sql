-- The end of a handler's transaction is one plain statement; this says why it wrote nothing.

create function millrace.refuse_finish(id uuid) returns boolean language plpgsql as $$
begin
    if not exists (select from millrace.job j where j.id = $1) then
        raise exception 'there is no job %', $1 using errcode = 'MR003';
    end if;
    raise exception 'job % is finished already', $1 using errcode = 'MR002';
end $$;
comment on function millrace.refuse_finish(uuid) is
    'No result was written for this job: raises MR002 if somebody was first and MR003 if there is '
    'no such job, so that the COMMIT behind it does not happen.';
