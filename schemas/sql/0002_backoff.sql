-- How the wait between two attempts grows, and the chance in it: per job, as base and cap are.

alter table millrace.job
    add column backoff_factor_percent smallint
        check (backoff_factor_percent between 100 and 1000),
    add column backoff_jitter_percent smallint
        check (backoff_jitter_percent between 0 and 100);
comment on column millrace.job.backoff_base_ms is
    'wait after the first failure; null: as the kind says';
comment on column millrace.job.backoff_cap_ms is 'limit of the wait; null: as the kind says';
comment on column millrace.job.backoff_factor_percent is
    'growth of the wait with each further failure, 200: it doubles; null: as the kind says';
comment on column millrace.job.backoff_jitter_percent is
    'chance in the wait, so much more or less; 0: none; null: as the kind says';

alter table millrace.inbox
    add column backoff_factor_percent smallint
        check (backoff_factor_percent between 100 and 1000),
    add column backoff_jitter_percent smallint
        check (backoff_jitter_percent between 0 and 100);
