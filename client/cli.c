#include "client/cli.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENDPOINTS_FILE ".millrace/endpoints.ini" /* written by `millrace dev` */
#define FILE_DEFAULT "millrace.ini"
#define COMMANDS_MAX 64
#define CONNECT_MS 3000

static const struct mr_conf_row rows[] = {
    {.name = "endpoint",
        .type = MR_CONF_STRING,
        .offset = offsetof(struct mr_cli_settings, endpoint),
        .help = "Where the broker is: tcp://HOST:PORT, several with commas. Empty: as "
                "`millrace dev` in this folder says"},
    {.name = "key_file",
        .type = MR_CONF_STRING,
        .offset = offsetof(struct mr_cli_settings, key_file),
        .help = "Who you are: the file NAME.key of `millrace key new NAME`"},
    {.name = "server_key",
        .type = MR_CONF_STRING,
        .offset = offsetof(struct mr_cli_settings, server_key),
        .help = "Who the broker is: its .pub file, or the 40 characters in it"},
    {.name = "insecure",
        .type = MR_CONF_BOOL,
        .offset = offsetof(struct mr_cli_settings, is_insecure),
        .initial = "false",
        .help = "Without a key: speak plain text to other hosts all the same"},
    {.name = "database",
        .type = MR_CONF_STRING,
        .offset = offsetof(struct mr_cli_settings, database),
        .help = "Connection string of PostgreSQL, for migrate",
        .is_secret = true},
    {.name = "output",
        .type = MR_CONF_CHOICE,
        .offset = offsetof(struct mr_cli_settings, output),
        .initial = "text",
        .choices = "text|json",
        .help = "For people or for programs; -o json for short"},
    {.name = "seal_file",
        .type = MR_CONF_STRING,
        .offset = offsetof(struct mr_cli_settings, seal_file),
        .help = "Keyring with which arguments are sealed (\"millrace seal new FILE\"). "
                "Empty: "
                "millrace.seal in $CREDENTIALS_DIRECTORY if it is there"},
    {.name = "timeout_ms",
        .type = MR_CONF_INT,
        .offset = offsetof(struct mr_cli_settings, timeout_ms),
        .initial = "30000",
        .min = 1,
        .max = 86400000,
        .help = "How long to wait for the broker's answers"},
    {.name = NULL},
};

const char *
mr_cli_option(const struct mr_cli *cli, const char *name)
{
    const struct mr_cli_option *options = cli->command->options;

    for (int i = 0; options && options[i].name; i++)
        if (strcmp(options[i].name, name) == 0)
            return cli->values[i];
    mr_assert_failed("the option is in the command's table", __FILE__, __LINE__);
}

/* ---- Words and flags --------------------------------------------------------------------- */

struct parsing {
    struct mr_cli *cli;
    int argc, at;
    char **argv;
    char **flags; /* those of the settings, for conf.h */
    int flag_count;
    bool wants_help;
    struct mr_err *err;
};

static const struct mr_cli_command *
find_command(const char *name)
{
    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static enum mr_status
usage(struct mr_err *err, const char *what, const char *word, const char *near)
{
    char todo[256];

    if (near)
        (void)snprintf(todo, sizeof todo, "Did you mean \"%s\"?", near);
    else
        (void)snprintf(todo, sizeof todo, "\"millrace help\" lists what there is.");
    return mr_err_setf(err, MR_BAD_ARGUMENT, what, todo, "\"%.200s\" is unknown.", word);
}

static enum mr_status
unknown_command(struct mr_err *err, const char *word)
{
    const char *names[COMMANDS_MAX];
    size_t n = 0;

    while (mr_cli_commands[n].name && n < COMMANDS_MAX) {
        names[n] = mr_cli_commands[n].name;
        n++;
    }
    return usage(err, "There is no such command.", word, mr_nearest(word, names, n));
}

/* Without its dashes and its value; false if it is too long to be any. */
static bool
flag_name(const char *word, char out[64])
{
    size_t n = strcspn(word + 2, "=");

    if (n >= 64)
        return false;
    memcpy(out, word + 2, n);
    out[n] = '\0';
    return true;
}

static enum mr_status
unknown_flag(const struct parsing *p, const char *name)
{
    const char *names[MR_CLI_OPTIONS_MAX + sizeof rows / sizeof *rows + 1];
    const struct mr_cli_option *option =
        p->cli->command ? p->cli->command->options : NULL;
    char flag[80];
    char near_flag[80];
    const char *near;
    size_t n = 0;

    for (; option && option->name; option++)
        names[n++] = option->name;
    for (const struct mr_conf_row *row = rows; row->name; row++)
        names[n++] = row->name;
    names[n++] = "config";
    names[n++] = "help";
    near = mr_nearest(name, names, n);
    (void)snprintf(flag, sizeof flag, "--%s", name);
    (void)snprintf(near_flag, sizeof near_flag, "--%s", near ? near : "");
    for (char *c = near_flag; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return usage(p->err, "There is no such option.", flag, near ? near_flag : NULL);
}

/* The value of a flag: behind "=", or the next word. NULL if there is none. */
static const char *
flag_value(struct parsing *p, const char *word)
{
    const char *equals = strchr(word, '=');

    if (equals)
        return equals + 1;
    return p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
}

static enum mr_status
no_value(const struct parsing *p, const char *word)
{
    return mr_err_setf(p->err, MR_BAD_ARGUMENT, "An option has no value.",
        "Write its value behind it.", "%.100s is the last word.", word);
}

/* NULL if it is none. */
static const struct mr_conf_row *
find_setting(const char *name)
{
    char as_row[64];

    (void)snprintf(as_row, sizeof as_row, "%s", name);
    for (char *c = as_row; *c; c++)
        *c = *c == '-' ? '_' : *c;
    for (const struct mr_conf_row *row = rows; row->name; row++)
        if (strcmp(row->name, as_row) == 0)
            return row;
    return NULL;
}

/* Kept for conf.h: the flag, and its value as a word of its own. */
static enum mr_status
keep_flag(struct parsing *p, const char *flag, const char *value, const char *word)
{
    if (!value)
        return no_value(p, word);
    p->flags[p->flag_count] = strdup(flag);
    p->flags[p->flag_count + 1] = strdup(value);
    if (!p->flags[p->flag_count] || !p->flags[p->flag_count + 1])
        return mr_err_set(p->err, MR_NO_MEMORY, "No memory.", NULL, NULL);
    p->flag_count += 2;
    return MR_OK;
}

/* A switch takes a value behind "=" only: the next word is none of its. */
static enum mr_status
keep_switch(struct parsing *p, const char *word)
{
    p->flags[p->flag_count] = strdup(word);
    if (!p->flags[p->flag_count++])
        return mr_err_set(p->err, MR_NO_MEMORY, "No memory.", NULL, NULL);
    return MR_OK;
}

static enum mr_status
take_setting(struct parsing *p, const char *name, const char *word)
{
    const struct mr_conf_row *row = find_setting(name);
    char flag[80];

    (void)snprintf(flag, sizeof flag, "--%s", name);
    if (!row && strcmp(name, "config") != 0)
        return unknown_flag(p, name);
    if (row && row->type == MR_CONF_BOOL)
        return keep_switch(p, word);
    return keep_flag(p, flag, flag_value(p, word), word);
}

static enum mr_status
take_option(struct parsing *p, const char *word)
{
    const struct mr_cli_option *options =
        p->cli->command ? p->cli->command->options : NULL;
    char name[64];

    if (!flag_name(word, name))
        return unknown_flag(p, "...");
    if (strcmp(name, "help") == 0) {
        p->wants_help = true;
        return MR_OK;
    }
    for (int i = 0; options && options[i].name; i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        p->cli->values[i] = options[i].value ? flag_value(p, word) : "";
        return p->cli->values[i] ? MR_OK : no_value(p, word);
    }
    return take_setting(p, name, word);
}

static enum mr_status
take_word(struct parsing *p, const char *word)
{
    struct mr_cli *cli = p->cli;

    if (!cli->command) {
        cli->command = find_command(word);
        return cli->command ? MR_OK : unknown_command(p->err, word);
    }
    if (cli->word_count >= cli->command->words_max)
        return mr_err_setf(p->err, MR_BAD_ARGUMENT, "There is a word too many.",
            "Put quotes around what belongs together.",
            "\"%.100s\": the command is \"millrace %s %s\".", word, cli->command->name,
            cli->command->args);
    cli->words[cli->word_count++] = word;
    return MR_OK;
}

static enum mr_status
parse_one(struct parsing *p, bool *only_words)
{
    const char *word = p->argv[p->at];

    if (*only_words || word[0] != '-' || word[1] == '\0')
        return take_word(p, word);
    if (strcmp(word, "--") == 0) {
        *only_words = true;
        return MR_OK;
    }
    if (strcmp(word, "-h") == 0) {
        p->wants_help = true;
        return MR_OK;
    }
    if (strcmp(word, "--version") == 0 && !p->cli->command)
        return take_word(p, "version");
    if (strncmp(word, "-o", 2) == 0)
        return keep_flag(p, "--output", word[2] ? word + 2 : flag_value(p, word), word);
    if (word[1] != '-')
        return usage(p->err, "There is no such option.", word, NULL);
    return take_option(p, word);
}

static enum mr_status
parse(struct parsing *p)
{
    enum mr_status status = MR_OK;
    bool only_words = false;

    for (p->at = 1; p->at < p->argc && !status; p->at++)
        status = parse_one(p, &only_words);
    if (status || p->wants_help || !p->cli->command ||
        p->cli->word_count >= p->cli->command->words_min)
        return status;
    return mr_err_setf(p->err, MR_BAD_ARGUMENT, "Something is missing.",
        p->cli->command->example, "The command is \"millrace %s %s\".",
        p->cli->command->name, p->cli->command->args);
}

/* ---- Settings ------------------------------------------------------------------------------- */

static enum mr_status
load_settings(struct parsing *p)
{
    struct mr_cli *cli = p->cli;
    bool has_file = getenv("MILLRACE_CONFIG") || access(FILE_DEFAULT, F_OK) == 0;
    char *with_file[64] = {"--config", ENDPOINTS_FILE};
    enum mr_status status;
    int at = 0;

    status = mr_conf_new(&cli->conf, "client", rows, &cli->settings);
    if (!status)
        status = mr_conf_load(cli->conf, p->flag_count, p->flags, &at, p->err);
    for (int i = 0; i < p->flag_count; i++)
        has_file = has_file || strcmp(p->flags[i], "--config") == 0;
    if (status || has_file || cli->settings.endpoint[0] ||
        access(ENDPOINTS_FILE, R_OK) != 0 || p->flag_count > 60)
        return status;
    at = 0;
    memcpy(with_file + 2, p->flags, (size_t)p->flag_count * sizeof with_file[0]);
    return mr_conf_load(cli->conf, p->flag_count + 2, with_file, &at, p->err);
}

enum mr_status
mr_cli_connect(struct mr_cli *cli, struct mr_err *err)
{
    struct millrace_options options = {.endpoints = cli->settings.endpoint,
        .default_timeout_ms = (int)cli->settings.timeout_ms,
        .seal_file = "",
        .key_file = cli->settings.key_file,
        .server_key = cli->settings.server_key,
        .is_insecure = cli->settings.is_insecure};
    struct millrace_error error;
    int timeout_ms = cli->settings.timeout_ms < CONNECT_MS ? (int)cli->settings.timeout_ms
                                                           : CONNECT_MS;

    if (cli->mr)
        return MR_OK;
    if (!cli->settings.endpoint[0])
        return mr_err_set(err, MR_UNREACHABLE, "The broker cannot be reached.",
            "No endpoint is set, and no `millrace dev` runs from this folder.",
            "Start one with \"millrace dev\", or say --endpoint tcp://HOST:PORT.");
    if (cli->submits)
        options.seal_file = cli->settings.seal_file[0] ? cli->settings.seal_file : NULL;
    cli->mr = millrace_open(&options, &error);
    if (cli->mr && millrace_ready(cli->mr, timeout_ms, &error) == MILLRACE_OK)
        return MR_OK;
    if (error.code == MILLRACE_UNREACHABLE)
        (void)snprintf(error.todo, sizeof error.todo,
            "Is it running? Start one with \"millrace dev\", or say --endpoint "
            "tcp://HOST:PORT.");
    return mr_err_set(err, (enum mr_status)error.code, error.what, error.why, error.todo);
}

/* ---- Run ------------------------------------------------------------------------------------- */

static int
execute(struct parsing *p)
{
    struct mr_cli *cli = p->cli;
    enum mr_status status = parse(p);
    bool is_usage = status != MR_OK;

    if (!status)
        status = load_settings(p);
    cli->is_json = !status && strcmp(cli->settings.output, "json") == 0;
    if (!status && (p->wants_help || !cli->command)) {
        if (cli->command)
            mr_cli_help_command(cli, cli->command, cli->out);
        else
            mr_cli_help(cli, p->wants_help ? cli->out : cli->err);
        return p->wants_help ? MR_CLI_OK : MR_CLI_USAGE;
    }
    if (status) {
        int code = mr_cli_fail(cli, p->err);

        return is_usage ? MR_CLI_USAGE : code;
    }
    return cli->command->run(cli);
}

int
mr_cli_run(int argc, char **argv, FILE *out, FILE *err)
{
    struct mr_cli cli = {.out = out, .err = err};
    struct mr_err error = {.status = MR_OK};
    struct parsing p = {.cli = &cli,
        .argc = argc,
        .argv = argv,
        .flags = calloc((size_t)argc * 2 + 2, sizeof(char *)),
        .err = &error};
    int code = MR_CLI_SOFTWARE;

    if (p.flags)
        code = execute(&p);
    /* A full disk or a closed pipe must not look like success. */
    if (fflush(out) != 0 && code == MR_CLI_OK)
        code = MR_CLI_CANNOT_WRITE;
    millrace_close(cli.mr);
    mr_conf_destroy(&cli.conf);
    for (int i = 0; p.flags && i < p.flag_count; i++)
        free(p.flags[i]);
    free(p.flags);
    return code;
}
