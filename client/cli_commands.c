#include "client/cli.h"

static const struct mr_cli_option submit_options[] = {
    {"wait", NULL, "wait for the end and print the result"},
    {"id", "UUID", "the job's id (version 7); the same id again is the same job"},
    {"queue", "NAME", "queue (default: default)"},
    {"priority", "0-9", "9 first (default: 4)"},
    {"lane", "KEY", "jobs of one queue, lane and priority start in order"},
    {"delay", "TIME", "not before 250ms, 10s, 5m, 2h, 1d from now"},
    {"at", "WHEN", "not before 2026-11-24T01:49:47Z, or +5m"},
    {"expires", "WHEN", "not started later than this"},
    {"job-timeout", "TIME", "of one attempt"},
    {"attempts", "N", "at most so many"},
    {"backoff", "TIME", "wait after the first failure"},
    {"backoff-cap", "TIME", "limit of that wait"},
    {"backoff-factor", "PERCENT",
        "its growth with each failure: 200 doubles, 100 keeps it"},
    {"backoff-jitter", "PERCENT", "chance in it, more or less; 0: none"},
    {"redrive-of", "UUID", "in place of this dead job, with other arguments perhaps"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option batch_options[] = {
    {"no-wait", NULL, "do not wait for results, only until all jobs are durable"},
    {"state", "FILE", "what makes it safe to run again (default: FILE.millrace-state)"},
    {"again", NULL, "forget the state: submit everything anew, as new jobs"},
    {"queue", "NAME", "queue for lines that name none"},
    {"window", "N", "jobs under way at a time (default: 4096)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option wait_options[] = {
    {"for", "TIME", "at most so long (default: for ever)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option jobs_options[] = {
    {"state", "STATE",
        "waiting, retrying, succeeded, failed, cancelled or expired (waiting includes "
        "running)"},
    {"kind", "KIND", "only this kind"},
    {"queue", "NAME", "only this queue"},
    {"since", "WHEN", "submitted at or after 2026-11-24T01:49:47Z, or -1h"},
    {"until", "WHEN", "submitted before"},
    {"limit", "N", "at most so many, newest first (default: 50)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option dead_options[] = {
    {"kind", "KIND", "only this kind"},
    {"queue", "NAME", "only this queue"},
    {"reason", "REASON", "used-up (its attempts), for-good, quarantined or unknown"},
    {"since", "WHEN", "died at or after 2026-11-24T01:49:47Z, or -1h"},
    {"until", "WHEN", "died before"},
    {"limit", "N", "at most so many, the latest deaths first (default: 50)"},
    {"redriven", NULL, "also those that were submitted anew"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option redrive_options[] = {
    {"yes", NULL, "do it; without it nothing is submitted, only shown"},
    {"all", NULL, "all dead jobs, when neither ids nor a filter are given"},
    {"kind", "KIND", "those of this kind"},
    {"queue", "NAME", "those of this queue"},
    {"reason", "REASON", "used-up (its attempts), for-good, quarantined or unknown"},
    {"since", "WHEN", "those that died at or after 2026-11-24T01:49:47Z, or -1h"},
    {"until", "WHEN", "those that died before"},
    {"limit", "N", "at most so many, the latest deaths first (default: all)"},
    {"rate", "N", "so many a second (default: as fast as they are taken)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option drain_options[] = {
    {"worker", "NAME",
        "only this worker: by name, or 8 characters and more of its instance"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option migrate_options[] = {
    {"pack", "NAME", "also the tables of a pack of kinds (ride)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option principal_options[] = {
    {"key", "FILE",
        "add, rotate: its public key, as \"millrace key new\" wrote it (.pub)"},
    {"role", "ROLE", "add: front-end, worker, operator, auditor or administrator"},
    {"queue", "PATTERN",
        "grant, deny, ungrant, add: only these queues: a name, or night* (default: *)"},
    {"kind", "PATTERN", "likewise only these kinds: ride.* (default: *)"},
    {"scope", "own|any",
        "grant of watch, fetch, cancel: whose jobs (default: its own only)"},
    {"retire", NULL, "rotate: the older keys open nothing any more"},
    {"jobs-per-s", "N", "limit: jobs that it may submit in a second; 0: no limit"},
    {"waiting-max", "N", "limit: its unfinished jobs; 0: no limit"},
    {"payload-bytes-max", "N", "limit: of arguments of its unfinished jobs; 0: no limit"},
    {"connections-max", "N", "limit: connections at a time; 0: no limit"},
    {"direct", NULL,
        "straight to --database, without a broker: for the first administrator"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option audit_options[] = {
    {"head", "HASH", "verify: the log must go on from the head that was noted then"},
    {"since", "WHEN", "list: at or after 2026-11-24T01:49:47Z, or -1h"},
    {"principal", "NAME", "list: only what they did, or tried"},
    {"refused", NULL, "list: only what was refused"},
    {"limit", "N", "list: at most so many, newest first (default: 50)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option config_options[] = {
    {"origin", NULL, "say where each value comes from"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option key_options[] = {
    {"dir", "DIR", "new: where the two files go (default: here)"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option invite_options[] = {
    {"at", "URL", "where the broker is, as seen from there: tcp://HOST:PORT"},
    {"role", "ROLE",
        "what they may do (default: worker); see \"millrace help principal\""},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option dev_options[] = {
    {"data", "DIR", "folder of the data (default: .millrace)"},
    {"workers", "N", "worker processes (default: 1)"},
    {"threads", "N", "threads of each (default: its own)"},
    {"load", "FILE", "shared object with kinds; several with commas"},
    {"front", "URL", "where front ends connect (default: a free port)"},
    {"back", "URL", "where workers connect (default: a free port)"},
    {"pack", "NAME", "also the tables of a pack of kinds (ride)"},
    {"no-worker", NULL, "only PostgreSQL and the broker"},
    {"only-database", NULL, "only PostgreSQL, migrated"},
    {NULL, NULL, NULL},
};

static const struct mr_cli_option seal_options[] = {
    {"key", "ID", "the key that is meant"},
    {NULL, NULL, NULL},
};

const struct mr_cli_command mr_cli_commands[] = {
    {"dev", "",
        "Everything on this machine: PostgreSQL, broker, worker. Ctrl-C stops all.",
        "millrace dev --workers 2 --threads 4", dev_options, 0, 0, mr_cmd_dev},
    {"submit", "KIND [JSON|-|@FILE]", "Submit one job.",
        "millrace submit test.sleep '{\"ms\":100}' --wait", submit_options, 1, 2,
        mr_cmd_submit},
    {"batch", "FILE.jsonl",
        "Submit one job a line; results as JSON lines. Safe to run again.",
        "millrace batch jobs.jsonl > results.jsonl", batch_options, 1, 1, mr_cmd_batch},
    {"wait", "ID...", "Wait for the end of jobs and print their results.",
        "millrace wait 0198c0de-0000-7000-8000-000000000001", wait_options, 1,
        MR_CLI_WORDS_MAX, mr_cmd_wait},
    {"show", "ID", "Everything about one job: its row, attempts, result.",
        "millrace show 0198c0de-0000-7000-8000-000000000001", NULL, 1, 1, mr_cmd_show},
    {"jobs", "", "List jobs, newest first.", "millrace jobs --state failed --since -1h",
        jobs_options, 0, 0, mr_cmd_jobs},
    {"dead", "[ID]",
        "List jobs that have failed for ever; with an ID, its whole history.",
        "millrace dead --kind test.fail --since -1h", dead_options, 0, 1, mr_cmd_dead},
    {"redrive", "[ID...]",
        "Submit dead jobs anew, each once; shows first, does it with --yes.",
        "millrace redrive --kind test.fail --rate 50 --yes", redrive_options, 0,
        MR_CLI_WORDS_MAX, mr_cmd_redrive},
    {"queues", "", "List queues with what waits in them.", "millrace queues", NULL, 0, 0,
        mr_cmd_list_queues},
    {"workers", "", "List connected workers.", "millrace workers", NULL, 0, 0,
        mr_cmd_list_workers},
    {"kinds", "", "List kinds of jobs that workers offer.", "millrace kinds", NULL, 0, 0,
        mr_cmd_list_kinds},
    {"usage", "", "What each principal uses, and its quotas.", "millrace usage", NULL, 0,
        0, mr_cmd_list_usage},
    {"stats", "", "Counters of the broker.", "millrace stats -o json", NULL, 0, 0,
        mr_cmd_list_stats},
    {"pause", "QUEUE", "Start no more jobs of a queue; running ones end.",
        "millrace pause nightly", NULL, 1, 1, mr_cmd_operate_pause},
    {"resume", "QUEUE", "Start jobs of a paused queue again.", "millrace resume nightly",
        NULL, 1, 1, mr_cmd_operate_resume},
    {"cancel", "ID", "Cancel a job; a running one is asked to stop.",
        "millrace cancel 0198c0de-0000-7000-8000-000000000001", NULL, 1, 1,
        mr_cmd_operate_cancel},
    {"explain", "ID", "Why is this job not running?",
        "millrace explain 0198c0de-0000-7000-8000-000000000001", NULL, 1, 1,
        mr_cmd_operate_explain},
    {"drain", "",
        "Let the broker accept and start no more jobs, until it is restarted; or let a "
        "worker end in order.",
        "millrace drain --worker host7:4711", drain_options, 0, 0, mr_cmd_operate_drain},
    {"key", "new NAME | show FILE",
        "A key that says who somebody is: make one, or print the public half of one.",
        "millrace key new worker2", key_options, 2, 2, mr_cmd_key},
    {"invite", "NAME",
        "Register a worker or client on another host, and write all that it needs into "
        "NAME.join.",
        "millrace invite worker2 --at tcp://10.0.0.1:7655", invite_options, 1, 1,
        mr_cmd_invite},
    {"seal", "new|add|rotate|drop|show FILE",
        "A keyring that seals payloads: made, a key added, the newest put first, one "
        "dropped.",
        "millrace seal new millrace.seal", seal_options, 2, 2, mr_cmd_seal},
    {"migrate", "", "Bring the tables of a database up to this version.",
        "millrace migrate --database 'host=db dbname=millrace'", migrate_options, 0, 0,
        mr_cmd_migrate},
    {"principal",
        "list | show NAME | add NAME | grant|deny|ungrant NAME RIGHT | revoke|restore "
        "NAME "
        "| rotate NAME | limit NAME",
        "Who may do what: principals, their keys, rights and limits.",
        "millrace principal add app1 --role front-end --queue 'night*' --key app1.pub",
        principal_options, 1, 3, mr_cmd_principal},
    {"audit", "verify|list",
        "Is the audit log as it was written? Or print it. Reads the database.",
        "millrace audit verify --database 'host=db dbname=millrace'", audit_options, 1, 1,
        mr_cmd_audit},
    {"config", "show|sample", "Print the settings, or a file to start from.",
        "millrace config show --origin", config_options, 1, 1, mr_cmd_config},
    {"completion", "bash", "Print the completion script for a shell.",
        "source <(millrace completion bash)", NULL, 1, 1, mr_cmd_about_completion},
    {"version", "", "Print the version.", "millrace version", NULL, 0, 0,
        mr_cmd_about_version},
    {"help", "[COMMAND]", "Explain a command.", "millrace help submit", NULL, 0, 1,
        mr_cmd_about_help},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
