#include "client/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/batch_line.h"
#include "client/batch_state.h"
#include "schemas/base/clock.h"
#include "schemas/wire/limits.h"

#define LINE_BYTES_MAX (8u * 1024 * 1024)
#define WINDOW_DEFAULT 4096
#define WINDOW_MAX 65536
#define BAR_WIDTH 32
#define BAR_US 100000

struct batch {
    struct mr_cli *cli;
    const char *path;
    FILE *file;
    char *line; /* LINE_BYTES_MAX + 2 */
    uint64_t number;
    const char *queue;
    struct mr_batch_digest digest;
    struct mr_uuid id;
    uint64_t total, sent, ended, failed;
    int64_t window, began_us, shown_us;
    unsigned until;
    int exit_code;
    bool has_bar;
};

/* ---- Lines --------------------------------------------------------------------------------- */

static void
name_line(const struct batch *batch, char out[PATH_MAX])
{
    (void)snprintf(
        out, PATH_MAX, "line %" PRIu64 " of %.3000s", batch->number, batch->path);
}

/* Its bytes, zero bytes among them; 0 at the end. One more than may be: it is too long. */
static size_t
read_line(struct batch *batch)
{
    size_t n = 0;
    int c = 0;

    while (n <= LINE_BYTES_MAX && c != '\n' && (c = getc_unlocked(batch->file)) != EOF)
        batch->line[n++] = (char)c;
    batch->line[n] = '\0';
    return n;
}

/* The next line that is not empty; false at the end or on failure. */
static bool
next_line(struct batch *batch, struct mr_span *out, struct mr_err *err)
{
    char name[PATH_MAX];
    size_t n;

    while ((n = read_line(batch)) > 0) {
        batch->number++;
        if (n > LINE_BYTES_MAX) {
            name_line(batch, name);
            (void)mr_err_setf(err, MR_TOO_BIG, "A line of the batch is too long.",
                "Store the data elsewhere, and submit where it is.",
                "%s has more than %u bytes.", name, LINE_BYTES_MAX);
            return false;
        }
        if (strspn(batch->line, " \t\r\n") == n)
            continue;
        *out = mr_span(batch->line, n);
        return true;
    }
    if (ferror(batch->file))
        (void)mr_err_setf(err, MR_NOT_FOUND, "The file cannot be read.", NULL, "%s: %s.",
            batch->path, strerror(errno));
    return false;
}

/* Everything is looked at before anything is sent. */
static enum mr_status
look_through(struct batch *batch, struct mr_err *err)
{
    struct mr_span text;
    char name[PATH_MAX];

    err->status = MR_OK;
    while (next_line(batch, &text, err)) {
        struct mr_batch_line line;
        enum mr_status status;

        name_line(batch, name);
        status = mr_batch_line_parse(text, name, &line, err);
        if (status)
            return status;
        mr_batch_line_fini(&line);
        mr_batch_state_digest(&batch->digest, text);
        batch->total++;
    }
    rewind(batch->file);
    batch->number = 0;
    return err->status;
}

/* ---- What becomes of them ---------------------------------------------------------------------- */

static void
show_bar(struct batch *batch, bool is_last)
{
    int64_t now_us = mr_clock_now().mono_us;
    uint64_t filled = batch->total ? batch->ended * BAR_WIDTH / batch->total : BAR_WIDTH;
    int64_t spent_us = now_us - batch->began_us;

    if (!batch->has_bar || (!is_last && now_us - batch->shown_us < BAR_US))
        return;
    batch->shown_us = now_us;
    fputs("\r[", batch->cli->err);
    for (uint64_t i = 0; i < BAR_WIDTH; i++)
        fputc(i < filled ? '#' : '.', batch->cli->err);
    fprintf(batch->cli->err,
        "] %" PRIu64 " of %" PRIu64 ", %" PRIu64 " not well, %.0f/s ", batch->ended,
        batch->total, batch->failed,
        spent_us > 0 ? (double)batch->ended * 1e6 / (double)spent_us : 0.0);
    if (is_last)
        fputc('\n', batch->cli->err);
    fflush(batch->cli->err);
}

static int
rank_of(int exit_code)
{
    if (exit_code == MR_CLI_TEMPORARY)
        return 4;
    return exit_code <= MR_CLI_JOB_STOPPED ? (3 - exit_code) % 3 : 3;
}

/* The worst end decides: something to be repeated, then something refused, then a failed job,
 * then a stopped one. */
static void
note_exit(struct batch *batch, int exit_code)
{
    batch->failed += exit_code != MR_CLI_OK;
    if (rank_of(exit_code) > rank_of(batch->exit_code))
        batch->exit_code = exit_code;
}

static void
print_end(struct batch *batch, const struct millrace_completion *done)
{
    bool is_durable = done->code == MILLRACE_OK || done->code == MILLRACE_KNOWN ||
                      done->code == MILLRACE_FINISHED;
    json_t *shown = mr_cli_result_json(&done->result);

    (void)json_object_set_new(
        shown, "line", json_integer((json_int_t)(uintptr_t)done->tag));
    if (!is_durable) {
        (void)json_object_set_new(shown, "outcome", json_string("refused"));
        (void)json_object_set_new(shown, "error", json_string(done->error.why));
        (void)json_object_set_new(
            shown, "code", json_string(millrace_code_name(done->code)));
        note_exit(batch, mr_cli_exit_of(done->code));
    } else if (!done->result.outcome) {
        (void)json_object_set_new(shown, "outcome", json_string("accepted"));
    } else {
        note_exit(batch, mr_cli_exit_of_outcome(done->result.outcome));
    }
    mr_cli_print_json(batch->cli, shown);
}

/* Takes one end, waiting for it; all that are there if `wait` is false. */
static void
take_ends(struct batch *batch, bool wait)
{
    struct millrace_completion done;

    while (batch->sent > batch->ended &&
           (wait ? millrace_finish(batch->cli->mr, BAR_US / 1000, &done)
                 : millrace_poll(batch->cli->mr, &done))) {
        batch->ended++;
        print_end(batch, &done);
        millrace_result_free(&done.result);
        wait = false;
    }
    show_bar(batch, false);
}

static enum mr_status
send_line(struct batch *batch, struct mr_span text, struct mr_err *err)
{
    struct millrace_error error = {.code = 0};
    struct mr_batch_line line;
    char name[PATH_MAX];
    enum mr_status status;
    int timeout_ms = batch->until == MILLRACE_UNTIL_FINISHED ? MILLRACE_FOREVER : 0;

    name_line(batch, name);
    status = mr_batch_line_parse(text, name, &line, err);
    if (status)
        return status;
    if (!line.has_id) {
        struct mr_uuid id = mr_batch_state_job(batch->id, batch->number);

        memcpy(line.job.id.b, id.b, sizeof id.b);
    }
    if (!line.job.queue)
        line.job.queue = batch->queue;
    status = (enum mr_status)millrace_submit_start(batch->cli->mr, &line.job,
        batch->until, timeout_ms, (void *)(uintptr_t)batch->number, &error);
    /* A wrong argument stands in the data here, not on the command line. */
    if (status == MR_BAD_ARGUMENT)
        status = MR_MALFORMED;
    if (status)
        (void)mr_err_setf(
            err, status, error.what, error.todo, "%s: %.300s", name, error.why);
    else
        batch->sent++;
    mr_batch_line_fini(&line);
    return status;
}

static enum mr_status
send_all(struct batch *batch, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    struct mr_span text;

    err->status = MR_OK;
    while (!status && next_line(batch, &text, err)) {
        status = send_line(batch, text, err);
        take_ends(batch, false);
        while ((int64_t)(batch->sent - batch->ended) >= batch->window)
            take_ends(batch, true);
    }
    while (batch->ended < batch->sent)
        take_ends(batch, true);
    show_bar(batch, true);
    return status ? status : err->status;
}

/* ---- The command --------------------------------------------------------------------------------- */

static enum mr_status
open_state(struct batch *batch, struct mr_err *err)
{
    const char *given = mr_cli_option(batch->cli, "state");
    char path[PATH_MAX];
    bool was_begun = false;
    enum mr_status status;

    if (snprintf(path, sizeof path, "%s%s", given ? given : batch->path,
            given ? "" : ".millrace-state") >= (int)sizeof path)
        return mr_err_set(err, MR_BAD_ARGUMENT, "The batch was not begun.",
            "The name is too long.", NULL);
    if (mr_cli_option(batch->cli, "again"))
        (void)unlink(path);
    status = mr_batch_state_open(path, &batch->digest, &batch->id, &was_begun, err);
    if (!status && was_begun && !batch->cli->is_json)
        fprintf(batch->cli->err, "millrace: this batch was begun before; what is there "
                                 "is not submitted twice.\n");
    return status;
}

static enum mr_status
open_input(struct batch *batch, struct mr_err *err)
{
    const char *window = mr_cli_option(batch->cli, "window");
    struct stat about;

    if (window &&
        mr_cli_parse_int("The window", window, 1, WINDOW_MAX, &batch->window, err))
        return MR_BAD_ARGUMENT;
    if (strcmp(batch->path, "-") == 0)
        return mr_err_set(err, MR_BAD_ARGUMENT, "The batch was not begun.",
            "Standard input cannot be read again, so it could not be made safe to "
            "repeat.",
            "Put the lines into a file first.");
    batch->file = fopen(batch->path, "re");
    batch->line = malloc(LINE_BYTES_MAX + 2);
    if (!batch->file)
        return mr_err_setf(err, MR_NOT_FOUND, "The file cannot be read.",
            "Check its name and who may read it.", "%s: %s.", batch->path,
            strerror(errno));
    if (fstat(fileno(batch->file), &about) != 0 || !S_ISREG(about.st_mode))
        return mr_err_setf(err, MR_BAD_ARGUMENT, "The batch was not begun.",
            "Put the lines into a file first.",
            "%s is no regular file: it could not be read a second time.", batch->path);
    return batch->line
               ? MR_OK
               : mr_err_set(err, MR_NO_MEMORY, "The batch was not begun.", NULL, NULL);
}

int
mr_cmd_batch(struct mr_cli *cli)
{
    struct batch batch = {.cli = cli,
        .path = cli->words[0],
        .window = WINDOW_DEFAULT,
        .queue = mr_cli_option(cli, "queue"),
        .began_us = mr_clock_now().mono_us,
        .has_bar = mr_cli_is_terminal(cli->err)};
    struct mr_err err = {.status = MR_OK};
    enum mr_status status = open_input(&batch, &err);

    cli->submits = true;
    batch.until =
        mr_cli_option(cli, "no-wait") ? MILLRACE_UNTIL_DURABLE : MILLRACE_UNTIL_FINISHED;
    if (!status)
        status = look_through(&batch, &err);
    if (!status)
        status = mr_cli_connect(cli, &err);
    if (!status)
        status = open_state(&batch, &err);
    if (!status)
        status = send_all(&batch, &err);
    if (batch.file)
        fclose(batch.file);
    free(batch.line);
    return status ? mr_cli_fail(cli, &err) : batch.exit_code;
}
