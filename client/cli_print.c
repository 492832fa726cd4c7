#include "client/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/json.h"
#include "schemas/base/clock.h"

#define COLUMNS_MAX 16
#define NAMES_MAX 1024
#define CELL_MAX 64 /* columns of a cell in a table; the last one is not cut */
#define YEAR_2001_US INT64_C(978307200000000)

/* ---- Failures ----------------------------------------------------------------------------- */

int
mr_cli_exit_of(int code)
{
    static const struct {
        int code, exit_code;
    } table[] = {
        {MR_OK, MR_CLI_OK},
        {MR_KNOWN, MR_CLI_OK},
        {MR_BUSY, MR_CLI_TEMPORARY},
        {MR_STORE_DOWN, MR_CLI_TEMPORARY},
        {MR_STORE_FULL, MR_CLI_TEMPORARY},
        {MR_STARTING, MR_CLI_TEMPORARY},
        {MR_TIMEOUT, MR_CLI_TEMPORARY},
        {MR_MOVED, MR_CLI_TEMPORARY},
        {MR_FENCED, MR_CLI_TEMPORARY},
        {MR_DRAINING, MR_CLI_TEMPORARY},
        {MR_NO_SESSION, MR_CLI_TEMPORARY},
        {MR_UNREACHABLE, MR_CLI_UNREACHABLE},
        {MR_MALFORMED, MR_CLI_DATA},
        {MR_TOO_BIG, MR_CLI_DATA},
        {MR_BAD_ID, MR_CLI_DATA},
        {MR_BAD_ARGUMENT, MR_CLI_DATA},
        {MR_NO_KIND, MR_CLI_DATA},
        {MR_CONFLICT, MR_CLI_DATA},
        {MR_FINISHED, MR_CLI_DATA}, /* too late: where it is good news nobody asks */
        {MR_LIMIT, MR_CLI_DATA},
        {MR_EXPIRED, MR_CLI_JOB_STOPPED},
        {MR_CANCELLED, MR_CLI_JOB_STOPPED},
        {MR_JOB_FAILED, MR_CLI_JOB_FAILED},
        {MR_NOT_FOUND, MR_CLI_NO_INPUT},
        {MR_NO_JOB, MR_CLI_NO_INPUT},
        {MR_DENIED, MR_CLI_DENIED},
        {MR_VERSION, MR_CLI_CONFIG},
        {MR_BAD_SETTING, MR_CLI_CONFIG},
        {MR_ADDRESS_IN_USE, MR_CLI_CONFIG},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].code == code)
            return table[i].exit_code;
    return MR_CLI_SOFTWARE;
}

/* Text from elsewhere, without what a terminal would obey. */
static void
print_clean(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        fputc((*c < ' ' && *c != '\n' && *c != '\t') || *c == 0x7f ? '?' : *c, out);
}

static void
print_error(struct mr_cli *cli, const struct mr_err *err)
{
    json_t *error;

    if (!cli->is_json) {
        fputs("millrace: ", cli->err);
        print_clean(cli->err, err->what);
        fputs("\n  why:  ", cli->err);
        print_clean(cli->err, err->why);
        fputs("\n  next: ", cli->err);
        print_clean(cli->err, err->todo[0] ? err->todo : mr_status_text(err->status));
        fputc('\n', cli->err);
        return;
    }
    error = json_pack("{s:{s:i,s:s,s:s,s:s,s:s}}", "error", "code", (int)err->status,
        "name", mr_status_name(err->status), "what", err->what, "why", err->why, "todo",
        err->todo);
    if (error)
        (void)json_dumpf(error, cli->err, JSON_COMPACT);
    fputc('\n', cli->err);
    json_decref(error);
}

int
mr_cli_fail(struct mr_cli *cli, const struct mr_err *err)
{
    print_error(cli, err);
    return err->status == MR_BAD_ARGUMENT ? MR_CLI_USAGE
                                          : mr_cli_exit_of((int)err->status);
}

int
mr_cli_fail_error(struct mr_cli *cli, const struct millrace_error *error)
{
    struct mr_err err;

    (void)mr_err_set(
        &err, (enum mr_status)error->code, error->what, error->why, error->todo);
    print_error(cli, &err);
    return mr_cli_exit_of(error->code);
}

bool
mr_cli_is_terminal(FILE *file)
{
    const char *term = getenv("TERM");

    return term && strcmp(term, "dumb") != 0 && fileno(file) >= 0 && isatty(fileno(file));
}

/* ---- JSON and tables ------------------------------------------------------------------------- */

void
mr_cli_print_json(struct mr_cli *cli, json_t *value)
{
    (void)json_dumpf(value, cli->out, JSON_ENCODE_ANY | JSON_COMPACT);
    fputc('\n', cli->out);
    json_decref(value);
}

static bool
is_time(const char *key, const json_t *value)
{
    size_t n = strlen(key);
    bool is_named = strcmp(key, "at") == 0 ||
                    (n > 3 && strcmp(key + n - 3, "_at") == 0) ||
                    (n > 3 && strcmp(key + n - 3, "_us") == 0);

    return is_named && json_is_integer(value) && json_integer_value(value) > YEAR_2001_US;
}

/* One value as a person reads it; free() it. */
static char *
cell_of(const char *key, const json_t *value)
{
    char text[32];

    if (!value || json_is_null(value))
        return strdup("-");
    if (is_time(key, value))
        return strdup(mr_clock_format(json_integer_value(value), text));
    if (json_is_string(value))
        return strdup(json_string_value(value));
    if (json_is_boolean(value))
        return strdup(json_is_true(value) ? "yes" : "no");
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

/* Characters, not bytes. */
static size_t
width_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void
print_cell(FILE *out, const char *text, size_t width, bool is_last)
{
    size_t used = width_of(text);

    print_clean(out, text);
    for (; used < width && !is_last; used++)
        fputc(' ', out);
    fputs(is_last ? "\n" : "  ", out);
}

static bool
has_column(const json_t *rows, const char *column)
{
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (json_object_get(json_array_get(rows, i), column))
            return true;
    return false;
}

static void
measure(const json_t *rows, const char *const *columns, size_t count, size_t *widths)
{
    for (size_t c = 0; c < count; c++)
        widths[c] = width_of(columns[c]);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        for (size_t c = 0; c < count; c++) {
            char *cell =
                cell_of(columns[c], json_object_get(json_array_get(rows, i), columns[c]));
            size_t width = cell ? width_of(cell) : 0;

            if (width > widths[c])
                widths[c] = width < CELL_MAX ? width : CELL_MAX;
            free(cell);
        }
    }
}

void
mr_cli_print_rows(struct mr_cli *cli, json_t *rows, const char *const *columns)
{
    const char *shown[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    size_t count = 0;

    if (cli->is_json || !json_is_array(rows)) {
        mr_cli_print_json(cli, rows);
        return;
    }
    for (; *columns && count < COLUMNS_MAX; columns++)
        if (json_array_size(rows) == 0 || has_column(rows, *columns))
            shown[count++] = *columns;
    measure(rows, shown, count, widths);
    for (size_t c = 0; c < count; c++)
        print_cell(cli->out, shown[c], widths[c], c + 1 == count);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        for (size_t c = 0; c < count; c++) {
            char *cell =
                cell_of(shown[c], json_object_get(json_array_get(rows, i), shown[c]));

            print_cell(cli->out, cell ? cell : "", widths[c], c + 1 == count);
            free(cell);
        }
    }
    json_decref(rows);
}

void
mr_cli_print_object(struct mr_cli *cli, json_t *object)
{
    size_t width = 0;
    const char *key;
    json_t *value;

    if (cli->is_json || !json_is_object(object)) {
        mr_cli_print_json(cli, object);
        return;
    }
    json_object_foreach(object, key, value)
    {
        if (width_of(key) > width)
            width = width_of(key);
    }
    json_object_foreach(object, key, value)
    {
        char *cell;

        if (json_is_null(value))
            continue;
        cell = cell_of(key, value);
        print_cell(cli->out, key, width, false);
        print_cell(cli->out, cell ? cell : "", 0, true);
        free(cell);
    }
    json_decref(object);
}

void
mr_cli_print_job(struct mr_cli *cli, json_t *job)
{
    static const char *const columns[] = {"attempt", "outcome", "started_at",
        "finished_at", "retry_at", "worker", "error", NULL};
    json_t *attempts, *live;

    if (cli->is_json) {
        mr_cli_print_json(cli, job);
        return;
    }
    attempts = json_incref(json_object_get(job, "attempt_rows"));
    live = json_incref(json_object_get(job, "live"));
    (void)json_object_del(job, "attempt_rows");
    (void)json_object_del(job, "live");
    mr_cli_print_object(cli, job);
    if (json_is_object(live)) {
        fputs("\nnow\n", cli->out);
        mr_cli_print_object(cli, json_incref(live));
    }
    if (json_array_size(attempts) > 0) {
        fputs("\nattempts that did not succeed\n", cli->out);
        mr_cli_print_rows(cli, json_incref(attempts), columns);
    }
    json_decref(attempts);
    json_decref(live);
}

/* ---- Results ---------------------------------------------------------------------------------- */

int
mr_cli_exit_of_outcome(int outcome)
{
    if (outcome == MILLRACE_SUCCEEDED)
        return MR_CLI_OK;
    return outcome == MILLRACE_FAILED ? MR_CLI_JOB_FAILED : MR_CLI_JOB_STOPPED;
}

json_t *
mr_cli_result_json(const struct millrace_result *result)
{
    char id[MILLRACE_ID_TEXT];
    json_t *body = result->body_bytes
                       ? mr_json_unpack(mr_span(result->body, result->body_bytes))
                       : json_null();

    return json_pack("{s:s,s:s,s:i,s:o,s:s?}", "id", millrace_id_format(&result->id, id),
        "outcome", millrace_outcome_name(result->outcome), "attempt",
        (int)result->attempt, "result", body ? body : json_null(), "error", result->text);
}

int
mr_cli_print_result(struct mr_cli *cli, const struct millrace_result *result)
{
    json_t *shown = mr_cli_result_json(result);

    if (cli->is_json) {
        mr_cli_print_json(cli, shown);
    } else if (result->outcome == MILLRACE_SUCCEEDED) {
        mr_cli_print_json(cli, json_incref(json_object_get(shown, "result")));
        json_decref(shown);
    } else {
        fprintf(cli->err, "millrace: The job %s %s after attempt %" PRIu32 ".\n",
            json_string_value(json_object_get(shown, "id")),
            result->outcome == MILLRACE_FAILED          ? "failed"
            : result->outcome == MILLRACE_WAS_CANCELLED ? "was cancelled"
                                                        : "has expired",
            result->attempt);
        fputs("  why:  ", cli->err);
        print_clean(cli->err, result->text ? result->text : "No reason was given.");
        fputc('\n', cli->err);
        json_decref(shown);
    }
    return mr_cli_exit_of_outcome(result->outcome);
}

/* ---- Asking the broker --------------------------------------------------------------------------- */

json_t *
mr_cli_id_args(const struct millrace_id *id)
{
    return json_pack("{s:o}", "id", mr_json_bin(mr_span(id->b, sizeof id->b)));
}

json_t *
mr_cli_call(struct mr_cli *cli, const char *method, json_t *args, int *exit_code)
{
    struct millrace_error error = {.code = 0};
    struct mr_wr wr;
    struct mr_err err;
    json_t *out = NULL;
    void *reply = NULL;
    size_t n = 0;

    mr_wr_init(&wr, 65536);
    *exit_code = MR_CLI_OK;
    if (mr_json_pack(args, &wr, &err) || mr_cli_connect(cli, &err)) {
        *exit_code = mr_cli_fail(cli, &err);
    } else if (millrace_call(cli->mr, method, wr.p, wr.n, 0, &reply, &n, &error)) {
        *exit_code = mr_cli_fail_error(cli, &error);
    } else {
        out = n ? mr_json_unpack_reply(mr_span(reply, n)) : json_null();
        if (!out) {
            (void)mr_err_set(&err, MR_MALFORMED, "The broker's reply cannot be read.",
                NULL, "Are broker and command of the same version?");
            *exit_code = mr_cli_fail(cli, &err);
        }
    }
    free(reply);
    mr_wr_fini(&wr);
    json_decref(args);
    return out;
}

void
mr_cli_suggest_kind(struct mr_cli *cli, const char *kind, struct millrace_error *error)
{
    const char *names[NAMES_MAX];
    void *reply = NULL;
    size_t reply_bytes = 0;
    size_t n = 0;
    json_t *kinds;
    const char *near;

    if (millrace_call(cli->mr, "kinds", NULL, 0, 0, &reply, &reply_bytes, NULL))
        return;
    kinds = mr_json_unpack_reply(mr_span(reply, reply_bytes));
    free(reply);
    for (size_t i = 0; i < json_array_size(kinds) && n < NAMES_MAX; i++) {
        const json_t *row = json_array_get(kinds, i);
        const char *name = json_string_value(json_object_get(row, "kind"));

        if (!name)
            name = json_string_value(json_object_get(row, "name"));
        if (!name)
            name = json_string_value(row);
        if (name)
            names[n++] = name;
    }
    near = mr_nearest(kind, names, n);
    (void)snprintf(error->todo, sizeof error->todo,
        near ? "Did you mean \"%s\"?" : "\"millrace kinds\" lists those there are.",
        near);
    json_decref(kinds);
}
