/*
 * The settings of a worker, from one table: flag over MILLRACE_* variable over the section
 * [worker] of the settings file over default. Main thread.
 */
#ifndef MR_WORKER_SETTINGS_H
#define MR_WORKER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/conf.h"
#include "schemas/base/status.h"

struct mr_settings {
    const char *endpoint, *database, *name, *load, *ready_file, *log_level;
    const char *user;
    bool keeps_core_dumps;
    const char *key_file, *server_key;
    bool is_insecure;
    const char *map, *pay_url, *pay_without_key;
    int64_t threads, prefetch, results_max, results_mib_max;
    int64_t drain_ms, hang_grace_ms, executor_spares;
    const char *isolate, *seal_file, *seal_only;
    int64_t isolate_memory_mib, isolate_grace_ms, isolate_jobs_max, isolate_growth_mib;
};

extern const struct mr_conf_row mr_settings_rows[];

/* What handlers may ask for with millrace_host_setting(). */
struct millrace_host {
    const struct mr_settings *settings;
};

/* Copy the next of a list by commas from *rest, which is moved on; false at the end. An entry
 * that does not fit is cut to "" (nothing can be done with half of it). */
bool mr_settings_next(const char **rest, char *out, size_t room);

/* `load` may be given several times on the command line: all of them by commas, to be freed;
 * NULL if there are fewer than two. */
char *mr_settings_all_loads(int argc, char **argv);

#endif
