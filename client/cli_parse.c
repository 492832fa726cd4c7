#include "client/cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)
#define YEAR_MS (366 * DAY_MS)

static enum mr_status
refuse(struct mr_err *err, const char *what, const char *text, const char *todo)
{
    return mr_err_setf(
        err, MR_BAD_ARGUMENT, what, todo, "\"%.100s\" cannot be understood.", text);
}

static bool
read_number(const char **text, int64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    *out = strtoll(*text, &end, 10);
    *text = end;
    return errno == 0;
}

enum mr_status
mr_cli_parse_duration(const char *text, int64_t max_ms, int64_t *ms, struct mr_err *err)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", DAY_MS}};
    const char *rest = text;
    int64_t number;

    if (read_number(&rest, &number)) {
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            if (strcmp(rest, units[i].unit) != 0)
                continue;
            if (number > max_ms / units[i].ms)
                return mr_err_setf(err, MR_BAD_ARGUMENT, "A time is too long.", NULL,
                    "%.100s is more than %" PRId64 " ms.", text, max_ms);
            *ms = number * units[i].ms;
            return MR_OK;
        }
    }
    return refuse(err, "That is no length of time.", text,
        "Write a whole number and its unit: 250ms, 10s, 5m, 2h, 1d.");
}

static bool
parse_stamp(const char *text, int64_t *us)
{
    struct tm parts = {.tm_isdst = 0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    int64_t fraction_us = 0;
    int64_t scale = 100000;
    time_t seconds;

    if (!rest)
        return false;
    if (*rest == '.') {
        if (!isdigit((unsigned char)*++rest))
            return false;
        for (; isdigit((unsigned char)*rest); rest++, scale /= 10)
            fraction_us += (*rest - '0') * scale;
    }
    if (strcmp(rest, "Z") != 0)
        return false;
    seconds = timegm(&parts);
    *us = (int64_t)seconds * 1000000 + fraction_us;
    return true;
}

enum mr_status
mr_cli_parse_time(const char *text, int64_t now_us, int64_t *us, struct mr_err *err)
{
    int64_t ms;
    enum mr_status status;

    if (text[0] == '+' || text[0] == '-') {
        status = mr_cli_parse_duration(text + 1, 10 * YEAR_MS, &ms, err);
        if (!status)
            *us = now_us + (text[0] == '+' ? ms : -ms) * 1000;
        return status;
    }
    if (parse_stamp(text, us))
        return MR_OK;
    return refuse(err, "That is no point in time.", text,
        "Write 2026-11-24T01:49:47Z (UTC), or a distance from now: +5m, -1h.");
}

enum mr_status
mr_cli_parse_int(const char *what, const char *text, int64_t min, int64_t max,
    int64_t *out, struct mr_err *err)
{
    const char *rest = text;

    if (read_number(&rest, out) && !*rest && *out >= min && *out <= max)
        return MR_OK;
    return mr_err_setf(err, MR_BAD_ARGUMENT, "A number is wrong.", NULL,
        "%s is \"%.100s\"; it has to be a whole number from %" PRId64 " to %" PRId64 ".",
        what, text, min, max);
}

enum mr_status
mr_cli_parse_id(const char *text, struct millrace_id *id, struct mr_err *err)
{
    if (millrace_id_parse(text, id) == MILLRACE_OK)
        return MR_OK;
    return mr_err_setf(err, MR_BAD_ID, "That is no job's id.",
        "An id looks like 0198c0de-0000-7000-8000-000000000001; \"millrace jobs\" lists "
        "them.",
        "\"%.100s\" is not a UUID.", text);
}

enum mr_status
mr_cli_read_file(
    const char *path, size_t bytes_max, char **bytes, size_t *n, struct mr_err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    enum mr_status status = MR_OK;

    *bytes = NULL;
    *n = 0;
    if (!file)
        return mr_err_setf(err, MR_NOT_FOUND, "The file cannot be read.",
            "Check its name and who may read it.", "%s: %s.", path, strerror(errno));
    *bytes = malloc(bytes_max + 1);
    if (*bytes)
        *n = fread(*bytes, 1, bytes_max + 1, file);
    if (!*bytes)
        status =
            mr_err_set(err, MR_NO_MEMORY, "The file was not read.", "No memory.", NULL);
    else if (ferror(file))
        status = mr_err_setf(err, MR_NOT_FOUND, "The file cannot be read.", NULL,
            "%s: %s.", path, strerror(errno));
    else if (*n > bytes_max)
        status = mr_err_setf(err, MR_TOO_BIG, "The file is too large.",
            "Store the data elsewhere, and submit where it is.",
            "%s has more than %zu bytes.", path, bytes_max);
    if (!is_stdin)
        fclose(file);
    if (status) {
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}
