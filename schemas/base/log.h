/*
 * One line per decision on standard error: time, level, thread, event, key=value. Never a
 * payload, never a connection string. Any thread (one write(2) per line). Libraries and pure
 * modules do not log.
 */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

#include <stdbool.h>

#include "schemas/base/status.h"

enum mr_log_level { MR_LOG_ERROR, MR_LOG_WARN, MR_LOG_INFO, MR_LOG_DEBUG };

/* Once, before threads start. `program` has static storage. */
void mr_log_open(const char *program, enum mr_log_level level);

/* The name that this thread's lines carry (at most 15 characters); also for the debugger. */
void mr_log_thread(const char *name);

/* `event` is a short stable word; `format` gives key=value pairs, values with spaces quoted by
 * the caller. The line is cut at 1,024 bytes; control characters are replaced. */
void mr_log(enum mr_log_level level, const char *event, const char *format, ...)
    MR_PRINTF(3, 4);

bool mr_log_level_parse(const char *text, enum mr_log_level *out);

#endif
