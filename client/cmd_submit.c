#include "client/cli.h"

#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "schemas/base/clock.h"
#include "schemas/wire/limits.h"

#define DELAY_MS_MAX INT64_C(4294967295)

/* The second word: JSON itself, "-" for standard input, "@FILE"; msgpack into `wr`. */
static enum mr_status
read_args(const char *word, struct mr_wr *wr, struct mr_err *err)
{
    const char *path = word[0] == '@' ? word + 1 : word;
    bool is_file = word[0] == '@' || strcmp(word, "-") == 0;
    char *bytes = NULL;
    size_t n = strlen(word);
    enum mr_status status = MR_OK;
    json_t *value = NULL;

    if (is_file)
        status =
            mr_cli_read_file(path, 8 * (size_t)MR_PAYLOAD_BYTES_MAX, &bytes, &n, err);
    if (!status)
        status = mr_json_parse(mr_span(bytes ? bytes : word, n),
            is_file ? path : "the argument", &value, err);
    if (!status)
        status = mr_json_pack(value, wr, err);
    json_decref(value);
    free(bytes);
    return status;
}

static enum mr_status
read_numbers(const struct mr_cli *cli, struct millrace_job *job, struct mr_err *err)
{
    const char *priority = mr_cli_option(cli, "priority");
    const char *attempts = mr_cli_option(cli, "attempts");
    enum mr_status status = MR_OK;
    int64_t number;

    if (priority) {
        status =
            mr_cli_parse_int("The priority", priority, 0, MR_PRIORITY_MAX, &number, err);
        job->priority = status ? 0 : (int)number;
    }
    if (!status && attempts) {
        status = mr_cli_parse_int(
            "The number of attempts", attempts, 1, MR_ATTEMPTS_MAX, &number, err);
        job->attempts_max = status ? 0 : (uint32_t)number;
    }
    return status;
}

/* An option that is not given leaves what is there. */
static enum mr_status
read_duration(
    const struct mr_cli *cli, const char *option, uint32_t *out_ms, struct mr_err *err)
{
    const char *word = mr_cli_option(cli, option);
    int64_t ms = *out_ms;
    enum mr_status status =
        word ? mr_cli_parse_duration(word, DELAY_MS_MAX, &ms, err) : MR_OK;

    *out_ms = (uint32_t)ms;
    return status;
}

static enum mr_status
read_backoff(const struct mr_cli *cli, struct millrace_job *job, struct mr_err *err)
{
    const char *factor = mr_cli_option(cli, "backoff-factor");
    const char *jitter = mr_cli_option(cli, "backoff-jitter");
    enum mr_status status = read_duration(cli, "backoff", &job->backoff_base_ms, err);
    int64_t percent = 0;

    if (!status)
        status = read_duration(cli, "backoff-cap", &job->backoff_cap_ms, err);
    if (!status && factor) {
        status = mr_cli_parse_int("The backoff's factor", factor, MR_BACKOFF_FACTOR_MIN,
            MR_BACKOFF_FACTOR_MAX, &percent, err);
        job->backoff_factor_percent = (uint32_t)percent;
    }
    if (!status && jitter) {
        status = mr_cli_parse_int(
            "The backoff's jitter", jitter, 0, MR_BACKOFF_JITTER_MAX, &percent, err);
        job->backoff_jitter_percent = percent ? (uint32_t)percent : MILLRACE_NO_JITTER;
    }
    return status;
}

static enum mr_status
read_times(const struct mr_cli *cli, struct millrace_job *job, struct mr_err *err)
{
    const char *at = mr_cli_option(cli, "at");
    const char *expires = mr_cli_option(cli, "expires");
    int64_t now_us = mr_clock_now().wall_us;
    enum mr_status status = read_duration(cli, "delay", &job->delay_ms, err);

    if (!status && at)
        status = mr_cli_parse_time(at, now_us, &job->run_at_us, err);
    if (!status && expires)
        status = mr_cli_parse_time(expires, now_us, &job->expires_at_us, err);
    if (!status)
        status = read_duration(cli, "job-timeout", &job->timeout_ms, err);
    return status;
}

static enum mr_status
read_job(const struct mr_cli *cli, struct millrace_job *job, struct mr_wr *wr,
    struct mr_err *err)
{
    const char *id = mr_cli_option(cli, "id");
    const char *redrive_of = mr_cli_option(cli, "redrive-of");
    enum mr_status status = MR_OK;

    millrace_job_init(job, cli->words[0]);
    job->queue = mr_cli_option(cli, "queue");
    job->lane = mr_cli_option(cli, "lane");
    if (id)
        status = mr_cli_parse_id(id, &job->id, err);
    if (!status && redrive_of)
        status = mr_cli_parse_id(redrive_of, &job->redrive_of, err);
    if (!status)
        status = read_numbers(cli, job, err);
    if (!status)
        status = read_times(cli, job, err);
    if (!status)
        status = read_backoff(cli, job, err);
    if (!status && cli->word_count > 1)
        status = read_args(cli->words[1], wr, err);
    job->args = wr->n ? wr->p : NULL;
    job->args_bytes = wr->n;
    return status;
}

static void
print_accepted(struct mr_cli *cli, const struct millrace_job *job, int code)
{
    char id[MILLRACE_ID_TEXT];
    const char *word = code == MILLRACE_KNOWN      ? "known"
                       : code == MILLRACE_FINISHED ? "finished"
                                                   : "accepted";

    millrace_id_format(&job->id, id);
    if (cli->is_json)
        mr_cli_print_json(cli, json_pack("{s:s,s:s}", "id", id, "status", word));
    else
        fprintf(cli->out, "%s\n", id);
}

static int
send_job(struct mr_cli *cli, const struct millrace_job *job)
{
    struct millrace_error error = {.code = 0};
    struct millrace_result result = {.outcome = 0};
    int exit_code = MR_CLI_OK;
    int code = millrace_submit(cli->mr, job, 0, &error);

    if (code && code != MILLRACE_KNOWN && code != MILLRACE_FINISHED) {
        if (code == MILLRACE_NO_KIND)
            mr_cli_suggest_kind(cli, job->kind, &error);
        return mr_cli_fail_error(cli, &error);
    }
    if (!mr_cli_option(cli, "wait")) {
        print_accepted(cli, job, code);
        return MR_CLI_OK;
    }
    code = millrace_wait(cli->mr, &job->id, MILLRACE_FOREVER, &result, &error);
    exit_code = code ? mr_cli_fail_error(cli, &error) : mr_cli_print_result(cli, &result);
    millrace_result_free(&result);
    return exit_code;
}

int
mr_cmd_submit(struct mr_cli *cli)
{
    struct millrace_job job;
    struct mr_wr wr;
    struct mr_err err;
    int exit_code;

    mr_wr_init(&wr, MR_PAYLOAD_BYTES_MAX);
    cli->submits = true;
    if (read_job(cli, &job, &wr, &err) || mr_cli_connect(cli, &err))
        exit_code = mr_cli_fail(cli, &err);
    else
        exit_code = send_job(cli, &job);
    mr_wr_fini(&wr);
    return exit_code;
}
