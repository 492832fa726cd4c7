/*
 * The command line program. One table (cli_commands.c) makes the parser, the help and the
 * completion; each command is a function in its own cmd_*.c. One thread.
 */
#ifndef MR_CLIENT_CLI_H
#define MR_CLIENT_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/millrace.h"
#include "schemas/base/conf.h"
#include "schemas/base/status.h"

/* What the program exits with; the large ones are those of sysexits.h. */
enum mr_cli_exit {
    MR_CLI_OK = 0,
    MR_CLI_JOB_FAILED = 1,
    MR_CLI_JOB_STOPPED = 2, /* cancelled or expired */
    MR_CLI_USAGE = 64,
    MR_CLI_DATA = 65,     /* malformed JSON, a job that is refused */
    MR_CLI_NO_INPUT = 66, /* no such job, no such file */
    MR_CLI_UNREACHABLE = 69,
    MR_CLI_SOFTWARE = 70,
    MR_CLI_OS = 71, /* a process or a file of ours failed */
    MR_CLI_CANNOT_WRITE = 73,
    MR_CLI_TEMPORARY = 75, /* busy, no answer in time: try again */
    MR_CLI_DENIED = 77,
    MR_CLI_CONFIG = 78
};

#define MR_CLI_OPTIONS_MAX 16 /* of one command */
#define MR_CLI_WORDS_MAX 64

/* --name VALUE of one command; a switch if `value` is NULL. */
struct mr_cli_option {
    const char *name;
    const char *value;
    const char *help;
};

struct mr_cli;

struct mr_cli_command {
    const char *name;
    const char *args;                    /* "KIND [JSON|-|@FILE]" */
    const char *help;                    /* one line */
    const char *example;                 /* one line, can be typed as it stands */
    const struct mr_cli_option *options; /* ends with a row without a name; may be NULL */
    int words_min, words_max;
    int (*run)(struct mr_cli *cli);
};

struct mr_cli_settings {
    const char *endpoint, *database, *output, *seal_file, *key_file, *server_key;
    bool is_insecure;
    int64_t timeout_ms;
};

struct mr_cli {
    const struct mr_cli_command *command;
    const char *words[MR_CLI_WORDS_MAX];
    int word_count;
    const char *values[MR_CLI_OPTIONS_MAX]; /* in the order of command->options */
    struct mr_cli_settings settings;
    struct mr_conf *conf;
    struct millrace *mr; /* NULL: not connected */
    FILE *out, *err;
    bool is_json;
    bool
        submits; /* before it connects: arguments are to be sealed, if there is a keyring */
};

extern const struct mr_cli_command mr_cli_commands[]; /* ends with a row without a name */

/* The whole program; returns the exit code. */
int mr_cli_run(int argc, char **argv, FILE *out, FILE *err);

/* The text of --name, NULL if it was not given ("" for a switch that was). Asking for an
 * option that the command does not have is our mistake. */
const char *mr_cli_option(const struct mr_cli *cli, const char *name);

/* Connect, if that has not been done: after the words were looked at, so that a mistake in them
 * is told first. */
enum mr_status mr_cli_connect(struct mr_cli *cli, struct mr_err *err) MR_MUST_CHECK;

/* ---- cli_parse.c: arguments ------------------------------------------------------------------ */

/* "250ms", "10s", "5m", "2h", "1d", at most `max_ms`. Usage error otherwise. */
enum mr_status mr_cli_parse_duration(
    const char *text, int64_t max_ms, int64_t *ms, struct mr_err *err) MR_MUST_CHECK;
/* "2026-11-24T01:49:47Z", with or without fraction; or "+5m" from `now_us`, "-5m" before. */
enum mr_status mr_cli_parse_time(
    const char *text, int64_t now_us, int64_t *us, struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_cli_parse_int(const char *what, const char *text, int64_t min,
    int64_t max, int64_t *out, struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_cli_parse_id(
    const char *text, struct millrace_id *id, struct mr_err *err) MR_MUST_CHECK;
/* A whole file, or standard input for "-", at most `bytes_max`; free() it. */
enum mr_status mr_cli_read_file(const char *path, size_t bytes_max, char **bytes,
    size_t *n, struct mr_err *err) MR_MUST_CHECK;

/* ---- cli_filter.c: options that become arguments of a method ---------------------------------- */

/* What was not given is not added. */
enum mr_status mr_cli_filter_text(const struct mr_cli *cli, const char *name,
    json_t *args, struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_cli_filter_time(const struct mr_cli *cli, const char *name,
    const char *key, json_t *args, struct mr_err *err) MR_MUST_CHECK;
/* One of `count` words. */
enum mr_status mr_cli_filter_word(const struct mr_cli *cli, const char *name,
    const char *const *words, size_t count, json_t *args,
    struct mr_err *err) MR_MUST_CHECK;

/* ---- cli_help.c -------------------------------------------------------------------------------- */

void mr_cli_help(const struct mr_cli *cli, FILE *out);
void mr_cli_help_command(
    const struct mr_cli *cli, const struct mr_cli_command *command, FILE *out);
void mr_cli_completion(const struct mr_cli *cli, FILE *out);

/* ---- cli_print.c: what people and programs see ---------------------------------------------- */

int mr_cli_exit_of(int code);

/* Print the three parts (or one JSON object) on the error stream; returns the exit code. The
 * first is for what we found ourselves (a wrong argument is wrong use), the second for what the
 * library or the broker said. */
int mr_cli_fail(struct mr_cli *cli, const struct mr_err *err);
int mr_cli_fail_error(struct mr_cli *cli, const struct millrace_error *error);

/* A person looks at it, at a place where a line can be written over. */
bool mr_cli_is_terminal(FILE *file);

/* One JSON value on its own line. Takes the reference. */
void mr_cli_print_json(struct mr_cli *cli, json_t *value);

/* An array of objects: as it is with -o json, else as an aligned table of the named columns
 * (NULL-ended). Takes the reference. */
void mr_cli_print_rows(struct mr_cli *cli, json_t *rows, const char *const *columns);

/* One object as "name  value" lines. Takes the reference. */
void mr_cli_print_object(struct mr_cli *cli, json_t *object);

/* What `show` says of a job: the row, what runs now, attempts. Takes the reference. */
void mr_cli_print_job(struct mr_cli *cli, json_t *job);

/* A finished job: its result (or error) and the exit code that goes with it. */
int mr_cli_print_result(struct mr_cli *cli, const struct millrace_result *result);
json_t *mr_cli_result_json(const struct millrace_result *result);
int mr_cli_exit_of_outcome(int outcome);

/* {"id": <16 bytes>}, the arguments of several methods. */
json_t *mr_cli_id_args(const struct millrace_id *id);

/* CALL (connects), the reply as JSON; NULL and *exit_code after it has printed why not. Takes the
 * reference to `args`. */
json_t *mr_cli_call(struct mr_cli *cli, const char *method, json_t *args, int *exit_code);

/* For a job whose kind nobody knows: the names that are known, to say "did you mean". */
void mr_cli_suggest_kind(
    struct mr_cli *cli, const char *kind, struct millrace_error *error);

/* ---- commands ----------------------------------------------------------------------------------- */

int mr_cmd_submit(struct mr_cli *cli);
int mr_cmd_batch(struct mr_cli *cli);
int mr_cmd_wait(struct mr_cli *cli);
int mr_cmd_show(struct mr_cli *cli);
int mr_cmd_jobs(struct mr_cli *cli);
int mr_cmd_dead(struct mr_cli *cli);
int mr_cmd_redrive(struct mr_cli *cli);
int mr_cmd_list_queues(struct mr_cli *cli);
int mr_cmd_list_usage(struct mr_cli *cli);
int mr_cmd_list_workers(struct mr_cli *cli);
int mr_cmd_list_kinds(struct mr_cli *cli);
int mr_cmd_list_stats(struct mr_cli *cli);
int mr_cmd_operate_pause(struct mr_cli *cli);
int mr_cmd_operate_resume(struct mr_cli *cli);
int mr_cmd_operate_cancel(struct mr_cli *cli);
int mr_cmd_operate_explain(struct mr_cli *cli);
int mr_cmd_operate_drain(struct mr_cli *cli);
int mr_cmd_seal(struct mr_cli *cli);
int mr_cmd_migrate(struct mr_cli *cli);
int mr_cmd_principal(struct mr_cli *cli);
int mr_cmd_audit(struct mr_cli *cli);
int mr_cmd_config(struct mr_cli *cli);
int mr_cmd_dev(struct mr_cli *cli);
int mr_cmd_key(struct mr_cli *cli);
int mr_cmd_invite(struct mr_cli *cli);
int mr_cmd_about_version(struct mr_cli *cli);
int mr_cmd_about_help(struct mr_cli *cli);
int mr_cmd_about_completion(struct mr_cli *cli);

#endif
