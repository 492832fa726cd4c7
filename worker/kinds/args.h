/*
 * Arguments that may be left out, and bounds. Each returns false after it has recorded why, so
 * that a handler is a row of `if (!mr_args_...) return MILLRACE_FAILED_FOR_GOOD;`.
 */
#ifndef MR_KINDS_ARGS_H
#define MR_KINDS_ARGS_H

#include "worker/millrace_worker.h"

/* `preset` when the key is missing; another type, or outside min..max: false. */
bool mr_args_int(struct millrace_job *job, const char *key, int64_t preset, int64_t min,
    int64_t max, int64_t *out);

/* `preset` NULL: the key is required. 1 to `chars_max` bytes. */
bool mr_args_str(struct millrace_job *job, const char *key, const char *preset,
    size_t chars_max, const char **out);

/* A job's or ride's id: 36 characters of a UUID, required. */
bool mr_args_id(struct millrace_job *job, const char *key, const char **out);

bool mr_args_is_id(const char *text);

#endif
