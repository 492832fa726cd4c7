#include "worker/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "worker/millrace_worker.h"

#define AT(field) offsetof(struct mr_settings, field)
#define TEXT(name, initial, help)                                                        \
    {                                                                                    \
#name, MR_CONF_STRING, AT(name), initial, 0, 0, NULL, help, false                \
    }
#define NUMBER(name, initial, min, max, help)                                            \
    {                                                                                    \
#name, MR_CONF_INT, AT(name), initial, min, max, NULL, help, false               \
    }
#define HOUR_MS INT64_C(3600000)

const struct mr_conf_row mr_settings_rows[] = {
    TEXT(endpoint, "", "the broker's endpoints for workers, by commas: tcp://host:port"),
    {"database", MR_CONF_STRING, AT(database), "", 0, 0, NULL,
        "connection string of PostgreSQL", true},
    TEXT(key_file, "",
        "who this worker is (`millrace key new NAME`): with it the broker is spoken to "
        "by "
        "CURVE"),
    TEXT(server_key, "",
        "the broker's public key: its .pub file or the 40 characters in it"),
    {"insecure", MR_CONF_BOOL, AT(is_insecure), "false", 0, 0, NULL,
        "without a key: speak plain text to other hosts all the same", false},
    TEXT(name, "", "how people know this worker; empty: host:process"),
    NUMBER(threads, "0", 0, 1024, "jobs that run at a time; 0: one for each core"),
    NUMBER(prefetch, "-1", -1, 65536,
        "jobs that wait here for a thread; -1: as many as threads, more while they are "
        "short"),
    TEXT(load, "", "shared objects with job kinds, by commas; the flag may be repeated"),
    TEXT(ready_file, "", "written when the broker has answered for the first time"),
    TEXT(user, "",
        "started as root: whom to become before kinds are loaded; root: nobody else"),
    {"core_dumps", MR_CONF_BOOL, AT(keeps_core_dumps), "false", 0, 0, NULL,
        "a crash may write memory to disk, and debuggers of the same user look into it "
        "(never that of child processes)",
        false},
    {"log_level", MR_CONF_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug",
        "what is written to standard error", false},
    NUMBER(drain_ms, "10000", 0, HOUR_MS,
        "when stopped: how long running jobs may take to finish"),
    NUMBER(hang_grace_ms, "5000", 1, HOUR_MS,
        "past its timeout: how long a handler may go on before its thread is written "
        "off"),
    NUMBER(executor_spares, "4", 0, 1024,
        "threads that may be written off; beyond that the worker ends with code 1"),
    TEXT(isolate, "",
        "kinds that run in child processes, by commas, besides those that ask for it; "
        "yes: "
        "all; no: none"),
    NUMBER(isolate_memory_mib, "1024", 0, 1 << 20,
        "memory that a job may take in a child process, unless its kind says; 0: no "
        "limit"),
    NUMBER(isolate_grace_ms, "1000", 0, HOUR_MS,
        "from when a job has to stop until its child process is killed"),
    NUMBER(isolate_jobs_max, "10000", 1, 1000000000,
        "jobs that a child process serves before another takes its place"),
    NUMBER(isolate_growth_mib, "128", 0, 1 << 20,
        "memory that a child process may keep between jobs before another takes its "
        "place; 0: no limit"),
    TEXT(seal_file, "",
        "keyring that opens sealed payloads and seals follow-up jobs; empty: "
        "millrace.seal in "
        "$CREDENTIALS_DIRECTORY if it is there"),
    TEXT(seal_only, "",
        "kinds whose jobs are refused unless they are sealed, by commas; yes: all; no: "
        "none"),
    NUMBER(results_max, "4096", 1, 65536,
        "results that may wait to be stored and acknowledged"),
    NUMBER(results_mib_max, "64", 1, 65536, "their size"),
    TEXT(map, "", "road network of the ride kinds: a SUMO .net.xml"),
    TEXT(pay_url, "", "payment provider of pay.charge: http://host:port"),
    TEXT(pay_without_key, "",
        "yes: charge without an idempotency key (shows what breaks)"),
    {NULL, MR_CONF_STRING, 0, NULL, 0, 0, NULL, NULL, false},
};

bool
mr_settings_next(const char **rest, char *out, size_t room)
{
    const char *from = *rest ? *rest + strspn(*rest, ", ") : "";
    size_t n = strcspn(from, ", ");

    if (n == 0)
        return false;
    *rest = from + n;
    if (n >= room)
        n = 0;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

static const char *
load_at(int argc, char **argv, int i)
{
    if (strncmp(argv[i], "--load=", strlen("--load=")) == 0)
        return argv[i] + strlen("--load=");
    if (strcmp(argv[i], "--load") == 0 && i + 1 < argc)
        return argv[i + 1];
    return NULL;
}

char *
mr_settings_all_loads(int argc, char **argv)
{
    size_t bytes = 1, n = 0;
    int count = 0;
    char *all;

    for (int i = 1; i < argc; i++) {
        const char *path = load_at(argc, argv, i);

        bytes += path ? strlen(path) + 1 : 0;
        count += path != NULL;
    }
    all = count > 1 ? malloc(bytes) : NULL;
    for (int i = 1; all && i < argc; i++) {
        const char *path = load_at(argc, argv, i);

        if (!path)
            continue;
        if (n)
            all[n++] = ',';
        memcpy(all + n, path, strlen(path) + 1);
        n += strlen(path);
    }
    return all;
}

const char *
millrace_host_setting(const struct millrace_host *host, const char *name)
{
    const struct mr_settings *settings = host->settings;
    const struct {
        const char *name, *value;
    } known[] = {
        {"map", settings->map},
        {"pay_url", settings->pay_url},
        {"pay_without_key", settings->pay_without_key},
        {"name", settings->name},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].value && known[i].value[0] ? known[i].value : NULL;
    return NULL;
}
