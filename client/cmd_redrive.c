#include "client/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/dead_query.h"
#include "client/redrive_seal.h"
#include "schemas/base/clock.h"

/*
 * What is to be submitted is known before the first one is: jobs of ours that die again meanwhile are
 * not among them. Each message is one transaction of the broker, which submits a dead job once,
 * whoever asks and however often: so it can be stopped anywhere and run again.
 */
#define LIMIT_MAX INT64_C(10000000)
#define RATE_MAX 1000000
#define CHUNK_MAX 1000
#define CHUNKS_PER_S 10
#define SHOWN_MAX 10

struct redrive {
    struct mr_cli *cli;
    struct millrace_id *ids; /* the latest deaths first, as they are listed */
    size_t count, room;
    json_t *kinds;                             /* name: how many */
    json_t *first;                             /* some rows, to be shown */
    int64_t limit, rate;                       /* rate 0: none */
    int64_t began_us;                          /* monotonic */
    size_t asked;                              /* jobs of the messages sent so far */
    size_t submitted, known, left_out, sealed; /* sealed: and not redriven */
    struct mr_seal_ring *ring;                 /* NULL: none, or not looked for yet */
    bool has_looked;
    bool is_out_of_memory;
};

/* ---- which ------------------------------------------------------------------------------------- */

static bool
has_room(struct redrive *redrive)
{
    size_t room = redrive->room ? redrive->room * 2 : 1024;
    struct millrace_id *ids;

    if (redrive->count < redrive->room)
        return true;
    ids = realloc(redrive->ids, room * sizeof *ids);
    if (!ids)
        return false;
    redrive->ids = ids;
    redrive->room = room;
    return true;
}

static void
take_row(void *context, json_t *row)
{
    struct redrive *redrive = context;
    const char *id = json_string_value(json_object_get(row, "id"));
    const char *kind = json_string_value(json_object_get(row, "kind"));
    json_int_t n;

    if (!id || !kind || !has_room(redrive) ||
        millrace_id_parse(id, &redrive->ids[redrive->count])) {
        redrive->is_out_of_memory = true;
        return;
    }
    redrive->count++;
    n = json_integer_value(json_object_get(redrive->kinds, kind));
    (void)json_object_set_new(redrive->kinds, kind, json_integer(n + 1));
    if (json_array_size(redrive->first) < SHOWN_MAX)
        (void)json_array_append(redrive->first, row);
}

/* By ids: each has to be dead; one that was redriven before is said and left out. */
static int
choose_ids(struct redrive *redrive)
{
    struct mr_cli *cli = redrive->cli;
    int exit_code = MR_CLI_OK;

    for (int i = 0; i < cli->word_count && !exit_code; i++) {
        json_t *job = mr_dead_query_one(cli, cli->words[i], &exit_code);
        const char *as = json_string_value(json_object_get(job, "redriven_as"));

        if (as && !cli->is_json)
            fprintf(cli->out, "%s was redriven before, as %s\n", cli->words[i], as);
        if (as)
            redrive->known++;
        else if (job)
            take_row(redrive, job);
        json_decref(job);
    }
    return exit_code;
}

static enum mr_status
read_options(struct redrive *redrive, json_t *args, struct mr_err *err)
{
    struct mr_cli *cli = redrive->cli;
    const char *limit = mr_cli_option(cli, "limit");
    const char *rate = mr_cli_option(cli, "rate");
    bool is_all;
    enum mr_status status = mr_dead_query_filter(cli, args, &is_all, err);

    redrive->limit = LIMIT_MAX;
    if (!status && limit)
        status = mr_cli_parse_int("The limit", limit, 1, LIMIT_MAX, &redrive->limit, err);
    if (!status && rate)
        status = mr_cli_parse_int("The rate", rate, 1, RATE_MAX, &redrive->rate, err);
    if (status)
        return status;
    if (cli->word_count && (!is_all || limit || mr_cli_option(cli, "all")))
        return mr_err_set(err, MR_BAD_ARGUMENT, "It is not clear which jobs are meant.",
            "There are ids and a filter.", "Give either ids or a filter.");
    if (!cli->word_count && is_all && !mr_cli_option(cli, "all"))
        return mr_err_set(err, MR_BAD_ARGUMENT, "It is not clear which jobs are meant.",
            "There is neither an id nor a filter.",
            "Give ids, a filter such as --kind or --since, or --all.");
    return MR_OK;
}

/* ---- dry run -------------------------------------------------------------------------------------- */

/* The command as it was, so that it can be said again with --yes. */
static void
print_command(const struct mr_cli *cli, FILE *out)
{
    const struct mr_cli_option *options = cli->command->options;

    fprintf(out, "millrace %s --yes", cli->command->name);
    for (int i = 0; options[i].name; i++) {
        const char *value = cli->values[i];

        if (!value)
            continue;
        fprintf(out, " --%s", options[i].name);
        if (options[i].value)
            fprintf(out, strpbrk(value, " \t*?$&;<>|()'\"\\") ? " \"%s\"" : " %s", value);
    }
    for (int i = 0; i < cli->word_count; i++)
        fprintf(out, " %s", cli->words[i]);
    fputc('\n', out);
}

static void
print_plan(struct redrive *redrive)
{
    static const char *const columns[] = {
        "id", "kind", "queue", "finished_at", "reason", "error", NULL};
    struct mr_cli *cli = redrive->cli;
    const char *kind;
    json_t *n;

    if (cli->is_json) {
        mr_cli_print_json(
            cli, json_pack("{s:I,s:O,s:O}", "would_submit", (json_int_t)redrive->count,
                     "kinds", redrive->kinds, "first", redrive->first));
        return;
    }
    fprintf(cli->out, "%zu dead job%s would be submitted anew%s\n", redrive->count,
        redrive->count == 1 ? "" : "s", redrive->count ? ":" : ".");
    if (redrive->count == 0)
        return;
    json_object_foreach(redrive->kinds, kind, n)
    {
        fprintf(
            cli->out, "  %8" JSON_INTEGER_FORMAT "  %s\n", json_integer_value(n), kind);
    }
    fprintf(
        cli->out, "\n%s\n", redrive->count > SHOWN_MAX ? "the latest of them" : "these");
    mr_cli_print_rows(cli, json_incref(redrive->first), columns);
    fputs("\nNothing was submitted. To do it:\n  ", cli->out);
    print_command(cli, cli->out);
}

/* ---- doing it ---------------------------------------------------------------------------------------- */

static void
show_progress(const struct redrive *redrive, bool is_last)
{
    struct mr_cli *cli = redrive->cli;

    if (!mr_cli_is_terminal(cli->err))
        return;
    fprintf(cli->err, "\r%zu of %zu submitted%s", redrive->submitted, redrive->count,
        is_last ? "\n" : " ");
    fflush(cli->err);
}

/* Until the rate lets the next ones go. */
static void
pace(const struct redrive *redrive)
{
    int64_t due_us, now_us = mr_clock_now().mono_us;

    if (!redrive->rate)
        return;
    due_us = redrive->began_us + (int64_t)redrive->asked * 1000000 / redrive->rate;
    if (due_us > now_us) {
        struct timespec left = {
            (due_us - now_us) / 1000000, (due_us - now_us) % 1000000 * 1000};

        (void)nanosleep(&left, NULL);
    }
}

static size_t
chunk_of(const struct redrive *redrive, size_t left)
{
    size_t chunk = CHUNK_MAX;

    if (redrive->rate && redrive->rate < CHUNK_MAX * CHUNKS_PER_S)
        chunk = (size_t)(redrive->rate + CHUNKS_PER_S - 1) / CHUNKS_PER_S;
    return chunk < left ? chunk : left;
}

/* It is redriven, or will never be. */
static void
count_verdict(struct redrive *redrive, json_t *row)
{
    struct mr_cli *cli = redrive->cli;
    const char *verdict = json_string_value(json_object_get(row, "verdict"));
    const char *id = json_string_value(json_object_get(row, "id"));

    if (!verdict || !id)
        return;
    if (strcmp(verdict, "submitted") == 0)
        redrive->submitted++;
    else if (strcmp(verdict, "known") == 0)
        redrive->known++;
    else
        redrive->left_out++;
    if (cli->is_json)
        mr_cli_print_json(cli, json_incref(row));
    else if (cli->word_count)
        fprintf(cli->out, "%s redriven as %s\n", id,
            json_string_value(json_object_get(row, "as")));
}

/* One that only who has the keys can redrive. Why not is said for the first of them. */
static void
take_sealed(struct redrive *redrive, const char *text)
{
    struct mr_cli *cli = redrive->cli;
    enum mr_status status = MR_OK;
    struct millrace_id id;
    json_t *verdict = NULL;
    struct mr_err err;

    if (!redrive->has_looked)
        status = mr_redrive_seal_ring(cli, &redrive->ring, &err);
    redrive->has_looked = true;
    if (!status && !redrive->ring)
        status = mr_err_setf(&err, MR_DENIED, "A sealed job was not redriven.",
            "Give the keyring with --seal-file, or submit it anew from where it came: "
            "millrace submit --redrive-of ID.",
            "The payload of %s opens under that id only, and there is no keyring here.",
            text);
    if (!status)
        status = mr_cli_parse_id(text, &id, &err);
    if (!status)
        status = mr_redrive_seal_one(cli, redrive->ring, &id, &verdict, &err);
    if (status && redrive->sealed++ == 0)
        (void)mr_cli_fail(cli, &err);
    if (verdict)
        count_verdict(redrive, verdict);
    json_decref(verdict);
}

/* Those that did not fit into this message's transaction go to the end of the list. */
static void
take_verdict(struct redrive *redrive, json_t *row, size_t *end)
{
    const char *verdict = json_string_value(json_object_get(row, "verdict"));
    const char *id = json_string_value(json_object_get(row, "id"));

    if (!verdict || !id)
        return;
    if (strcmp(verdict, "later") == 0) {
        (void)millrace_id_parse(id, &redrive->ids[(*end)++]);
        redrive->asked--;
    } else if (strcmp(verdict, "sealed") == 0) {
        take_sealed(redrive, id);
    } else {
        count_verdict(redrive, row);
    }
}

/* The last `n` of ids[0..*end): the oldest deaths come first. */
static int
send_chunk(struct redrive *redrive, size_t n, size_t *end)
{
    json_t *ids = json_array();
    json_t *verdicts;
    char text[MILLRACE_ID_TEXT];
    int exit_code;

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(
            ids, json_string(millrace_id_format(&redrive->ids[*end - 1 - i], text)));
    verdicts =
        mr_cli_call(redrive->cli, "redrive", json_pack("{s:o}", "ids", ids), &exit_code);
    if (!verdicts)
        return exit_code;
    *end -= n;
    redrive->asked += n;
    for (size_t i = json_array_size(verdicts); i > 0; i--)
        take_verdict(redrive, json_array_get(verdicts, i - 1), end);
    json_decref(verdicts);
    return MR_CLI_OK;
}

static int
submit_all(struct redrive *redrive)
{
    struct mr_cli *cli = redrive->cli;
    size_t end = redrive->count;
    int exit_code = MR_CLI_OK;

    redrive->began_us = mr_clock_now().mono_us;
    while (end > 0 && !exit_code) {
        pace(redrive);
        exit_code = send_chunk(redrive, chunk_of(redrive, end), &end);
        show_progress(redrive, end == 0);
    }
    if (!cli->is_json) {
        fprintf(cli->out, "%zu submitted anew", redrive->submitted);
        if (redrive->known)
            fprintf(cli->out, ", %zu had been before", redrive->known);
        if (redrive->left_out)
            fprintf(cli->out, ", %zu are not dead any more", redrive->left_out);
        if (redrive->sealed)
            fprintf(cli->out, ", %zu are sealed and were not", redrive->sealed);
        fprintf(cli->out, "%s\n",
            exit_code ? "; the rest was not: run it again, nothing is submitted twice"
                      : "");
    }
    return exit_code || !redrive->sealed ? exit_code : MR_CLI_DATA;
}

int
mr_cmd_redrive(struct mr_cli *cli)
{
    struct redrive redrive = {.cli = cli, .kinds = json_object(), .first = json_array()};
    json_t *args = json_object();
    struct mr_err err;
    int exit_code = MR_CLI_OK;

    if (read_options(&redrive, args, &err))
        exit_code = mr_cli_fail(cli, &err);
    else if (cli->word_count)
        exit_code = choose_ids(&redrive);
    else
        exit_code = mr_dead_query_each(cli, args, redrive.limit, take_row, &redrive);
    if (!exit_code && redrive.is_out_of_memory) {
        (void)mr_err_set(&err, MR_NO_MEMORY, "The dead jobs were not listed.",
            "There is no memory for their ids.", "Give a --limit.");
        exit_code = mr_cli_fail(cli, &err);
    }
    if (!exit_code && mr_cli_option(cli, "yes"))
        exit_code = submit_all(&redrive);
    else if (!exit_code)
        print_plan(&redrive);
    free(redrive.ids);
    mr_seal_ring_destroy(&redrive.ring);
    json_decref(redrive.kinds);
    json_decref(redrive.first);
    json_decref(args);
    return exit_code;
}
