#include "worker/kinds/args.h"

#include <string.h>

bool
mr_args_int(struct millrace_job *job, const char *key, int64_t preset, int64_t min,
    int64_t max, int64_t *out)
{
    *out = preset;
    if (!millrace_arg_is_given(job, key))
        return true;
    if (millrace_arg_int(job, key, out) && *out >= min && *out <= max)
        return true;
    millrace_fail_for_good(job, "\"%s\" must be a whole number from %lld to %lld", key,
        (long long)min, (long long)max);
    return false;
}

bool
mr_args_str(struct millrace_job *job, const char *key, const char *preset,
    size_t chars_max, const char **out)
{
    size_t n;

    *out = preset;
    if (preset && !millrace_arg_is_given(job, key))
        return true;
    if (millrace_arg_str(job, key, out)) {
        n = strlen(*out);
        if (n >= 1 && n <= chars_max)
            return true;
    }
    millrace_fail_for_good(
        job, "\"%s\" must be a text of 1 to %zu bytes", key, chars_max);
    return false;
}

bool
mr_args_is_id(const char *text)
{
    for (size_t i = 0; i < 36; i++) {
        bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;

        if (text[i] == '\0' || (is_hyphen && text[i] != '-') ||
            (!is_hyphen && !strchr("0123456789abcdefABCDEF", text[i])))
            return false;
    }
    return text[36] == '\0';
}

bool
mr_args_id(struct millrace_job *job, const char *key, const char **out)
{
    if (millrace_arg_str(job, key, out) && mr_args_is_id(*out))
        return true;
    millrace_fail_for_good(job, "\"%s\" must be an id (a UUID)", key);
    return false;
}
