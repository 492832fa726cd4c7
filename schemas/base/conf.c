#include "schemas/base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/conf_priv.h"

#include <ini.h>

#define FILE_DEFAULT "millrace.ini"
#define ORIGIN_MAX 512
#define TYPO_MAX 2 /* a name this near to one of ours is taken for a slip of the finger */

static char *
value_at(const struct mr_conf *conf, const struct mr_conf_row *row)
{
    return (char *)conf->values + row->offset;
}

static bool
is_text(const struct mr_conf_row *row)
{
    return row->type == MR_CONF_STRING || row->type == MR_CONF_CHOICE;
}

char *
mr_conf_env_name(
    const struct mr_conf_row *row, char out[MR_CONF_NAME_MAX + sizeof "MILLRACE_"])
{
    size_t n = strlen("MILLRACE_");

    memcpy(out, "MILLRACE_", n + 1);
    for (const char *c = row->name; *c; c++)
        out[n++] = (char)toupper((unsigned char)*c);
    out[n] = '\0';
    return out;
}

char *
mr_conf_flag_name(const struct mr_conf_row *row, char out[MR_CONF_NAME_MAX + sizeof "--"])
{
    size_t n = strlen("--");

    memcpy(out, "--", n + 1);
    for (const char *c = row->name; *c; c++)
        out[n++] = *c == '_' ? '-' : *c;
    out[n] = '\0';
    return out;
}

enum mr_status
mr_conf_new(struct mr_conf **out, const char *section, const struct mr_conf_row *rows,
    void *values)
{
    struct mr_conf *conf = calloc(1, sizeof *conf);

    *out = NULL;
    if (!conf)
        return MR_NO_MEMORY;
    *conf = (struct mr_conf){.section = section, .rows = rows, .values = values};
    while (rows[conf->count].name) {
        MR_ASSERT(conf->count < MR_CONF_ROWS_MAX);
        MR_ASSERT(strlen(rows[conf->count].name) < MR_CONF_NAME_MAX);
        MR_ASSERT(strcmp(rows[conf->count].name, "config") != 0);
        if (is_text(&rows[conf->count]))
            *(const char **)(void *)value_at(conf, &rows[conf->count]) = NULL;
        conf->count++;
    }
    conf->origins = calloc(conf->count + 1, sizeof *conf->origins);
    if (!conf->origins) {
        free(conf);
        return MR_NO_MEMORY;
    }
    *out = conf;
    return MR_OK;
}

void
mr_conf_destroy(struct mr_conf **conf)
{
    struct mr_conf *gone = *conf;

    if (!gone)
        return;
    for (size_t i = 0; i < gone->count; i++) {
        if (is_text(&gone->rows[i])) {
            char **text = (char **)(void *)value_at(gone, &gone->rows[i]);

            free(*text);
            *text = NULL;
        }
        free(gone->origins[i]);
    }
    free(gone->origins);
    free(gone);
    *conf = NULL;
}

/* ---- One value ---------------------------------------------------------------------- */

static enum mr_status
refuse(const struct mr_conf_row *row, const char *text, const char *origin,
    const char *wanted, struct mr_err *err)
{
    char todo[256];

    snprintf(todo, sizeof todo, "Give %s %s.", row->name, wanted);
    return mr_err_setf(err, MR_BAD_SETTING, "A setting has a wrong value.", todo,
        "%s: %s cannot be \"%s\".", origin, row->name, row->is_secret ? "***" : text);
}

static bool
is_choice(const struct mr_conf_row *row, const char *text)
{
    size_t n = strlen(text);

    for (const char *c = row->choices; c; c = strchr(c, '|')) {
        c += *c == '|';
        if (strcspn(c, "|") == n && strncmp(c, text, n) == 0)
            return true;
    }
    return false;
}

static enum mr_status
set_text(struct mr_conf *conf, const struct mr_conf_row *row, const char *text,
    const char *origin, struct mr_err *err)
{
    char **value = (char **)(void *)value_at(conf, row);
    char wanted[160];
    char *copy;

    if (row->type == MR_CONF_CHOICE && !is_choice(row, text)) {
        snprintf(wanted, sizeof wanted, "one of %s", row->choices);
        return refuse(row, text, origin, wanted, err);
    }
    copy = strdup(text);
    if (!copy)
        return mr_err_set(
            err, MR_NO_MEMORY, "Settings were not read.", "No memory.", NULL);
    free(*value);
    *value = copy;
    return MR_OK;
}

static enum mr_status
set_int(struct mr_conf *conf, const struct mr_conf_row *row, const char *text,
    const char *origin, struct mr_err *err)
{
    char *end = NULL;
    char wanted[96];
    bool is_number = isdigit((unsigned char)text[0]) ||
                     (text[0] == '-' && isdigit((unsigned char)text[1]));
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (!is_number || *end || errno || number < row->min || number > row->max) {
        snprintf(wanted, sizeof wanted, "a whole number from %lld to %lld",
            (long long)row->min, (long long)row->max);
        return refuse(row, text, origin, wanted, err);
    }
    *(int64_t *)(void *)value_at(conf, row) = number;
    return MR_OK;
}

static enum mr_status
set_bool(struct mr_conf *conf, const struct mr_conf_row *row, const char *text,
    const char *origin, struct mr_err *err)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        bool is_yes = strcmp(text, yes[i]) == 0;

        if (is_yes || strcmp(text, no[i]) == 0) {
            *(bool *)(void *)value_at(conf, row) = is_yes;
            return MR_OK;
        }
    }
    return refuse(row, text, origin, "true or false", err);
}

static enum mr_status
set(struct mr_conf *conf, size_t at, const char *text, const char *origin,
    struct mr_err *err)
{
    const struct mr_conf_row *row = &conf->rows[at];
    enum mr_status status = MR_INTERNAL;
    char *copy;

    switch (row->type) {
    case MR_CONF_STRING:
    case MR_CONF_CHOICE:
        status = set_text(conf, row, text, origin, err);
        break;
    case MR_CONF_INT:
        status = set_int(conf, row, text, origin, err);
        break;
    case MR_CONF_BOOL:
        status = set_bool(conf, row, text, origin, err);
        break;
    }
    if (status)
        return status;
    copy = strdup(origin);
    if (!copy)
        return mr_err_set(
            err, MR_NO_MEMORY, "Settings were not read.", "No memory.", NULL);
    free(conf->origins[at]);
    conf->origins[at] = copy;
    return MR_OK;
}

/* A row without a default: empty text (which for a choice is none of its words), 0, false. */
static enum mr_status
set_empty(struct mr_conf *conf, const struct mr_conf_row *row, struct mr_err *err)
{
    struct mr_conf_row any_text = {.type = MR_CONF_STRING, .offset = row->offset};

    if (is_text(row))
        return set_text(conf, &any_text, "", "default", err);
    if (row->type == MR_CONF_INT)
        *(int64_t *)(void *)value_at(conf, row) = 0;
    else
        *(bool *)(void *)value_at(conf, row) = false;
    return MR_OK;
}

static enum mr_status
set_defaults(struct mr_conf *conf, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < conf->count && !status; i++) {
        const struct mr_conf_row *row = &conf->rows[i];

        status = row->initial ? set(conf, i, row->initial, "default", err)
                              : set_empty(conf, row, err);
    }
    return status;
}

/* ---- The file ------------------------------------------------------------------------ */

struct reading {
    struct mr_conf *conf;
    const char *path;
    FILE *file;
    int line; /* of the file, from 1 */
    bool is_too_long;
    int *lines_set; /* where each row was set, 0: not yet */
    enum mr_status status;
    struct mr_err *err;
};

static size_t
find_row(const struct mr_conf *conf, const char *name)
{
    size_t i = 0;

    while (i < conf->count && strcmp(conf->rows[i].name, name) != 0)
        i++;
    return i;
}

static const char *
nearest_name(const struct mr_conf *conf, const char *name, size_t distance_max)
{
    const char *names[MR_CONF_ROWS_MAX] = {NULL};

    for (size_t i = 0; i < conf->count; i++)
        names[i] = conf->rows[i].name;
    return mr_conf_nearest(name, names, conf->count, distance_max);
}

/* Keys of [common] may belong to another program; only what looks like a slip of one of our
 * names is refused there. */
static enum mr_status
on_unknown_key(struct reading *reading, const char *section, const char *name)
{
    bool is_ours = strcmp(section, reading->conf->section) == 0;
    const char *near =
        nearest_name(reading->conf, name, is_ours ? MR_CONF_NEAR_MAX : TYPO_MAX);
    char todo[256];

    if (!is_ours && !near)
        return MR_OK;
    if (near)
        snprintf(todo, sizeof todo, "Did you mean \"%s\"?", near);
    else
        snprintf(todo, sizeof todo, "Remove it; \"config show\" lists what there is.");
    return mr_err_setf(reading->err, MR_BAD_SETTING, "There is no such setting.", todo,
        "%s:%d: [%s] has \"%s\".", reading->path, reading->line, section, name);
}

static enum mr_status
on_stray_section(struct reading *reading, const char *section)
{
    const char *const ours[] = {reading->conf->section, "common"};
    const char *near = mr_conf_nearest(section, ours, 2, TYPO_MAX);
    char todo[256];

    if (section[0] == '\0') {
        snprintf(todo, sizeof todo, "Put [common] or [%s] above it.", ours[0]);
        return mr_err_setf(reading->err, MR_BAD_SETTING, "A setting is in no section.",
            todo, "%s:%d: it stands above the first [section].", reading->path,
            reading->line);
    }
    if (!near)
        return MR_OK;
    snprintf(todo, sizeof todo, "Did you mean [%s]?", near);
    return mr_err_setf(reading->err, MR_BAD_SETTING, "There is no such section.", todo,
        "%s:%d: this is in [%s].", reading->path, reading->line, section);
}

static enum mr_status
on_key(struct reading *reading, const char *section, const char *name, const char *value)
{
    struct mr_conf *conf = reading->conf;
    char origin[ORIGIN_MAX];
    size_t at;

    if (strcmp(section, conf->section) != 0 && strcmp(section, "common") != 0)
        return on_stray_section(reading, section);
    at = find_row(conf, name);
    if (at == conf->count)
        return on_unknown_key(reading, section, name);
    if (reading->lines_set[at]) {
        return mr_err_setf(reading->err, MR_BAD_SETTING, "A setting is given twice.",
            "Keep one of the two lines (a line that begins with a space continues the "
            "one "
            "before).",
            "%s:%d: \"%s\" was set in line %d already.", reading->path, reading->line,
            name, reading->lines_set[at]);
    }
    reading->lines_set[at] = reading->line;
    snprintf(origin, sizeof origin, "%s:%d", reading->path, reading->line);
    return set(conf, at, value, origin, reading->err);
}

static int
on_ini(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;

    if (!reading->status)
        reading->status = on_key(reading, section, name, value ? value : "");
    return reading->status == MR_OK;
}

/* inih would go on in the middle of a line that is longer than its room. */
static char *
read_line(char *room, int n, void *user)
{
    struct reading *reading = user;

    if (reading->status || !fgets(room, n, reading->file))
        return NULL;
    reading->line++;
    if (strlen(room) + 1 < (size_t)n || room[n - 2] == '\n')
        return room;
    reading->status = mr_err_setf(reading->err, MR_BAD_SETTING,
        "The settings file cannot be read.",
        "Shorten the line, or give a long value as a flag or MILLRACE_ variable.",
        "%s:%d: the line is longer than %d bytes.", reading->path, reading->line, n - 2);
    return NULL;
}

static enum mr_status
parse_file(struct reading *reading)
{
    int bad_line = ini_parse_stream(read_line, reading, on_ini, reading);

    /* A line that inih could not read may be why a later one made no sense to us. */
    if (bad_line != 0 && (!reading->status || bad_line < reading->line)) {
        return mr_err_setf(reading->err, MR_BAD_SETTING,
            "The settings file cannot be read.",
            "Write \"name = value\", \"[section]\" or \"# remark\".",
            "%s:%d: this is none of the three.", reading->path, bad_line);
    }
    if (!reading->status && ferror(reading->file)) {
        return mr_err_setf(reading->err, MR_BAD_SETTING,
            "The settings file cannot be read.", "Check that it is an ordinary file.",
            "%s: %s.", reading->path, strerror(errno));
    }
    return reading->status;
}

static enum mr_status
load_file(struct mr_conf *conf, const char *path, bool is_wanted, struct mr_err *err)
{
    int lines_set[MR_CONF_ROWS_MAX] = {0};
    struct reading reading = {
        .conf = conf, .path = path, .lines_set = lines_set, .err = err};
    enum mr_status status;

    reading.file = fopen(path, "re");
    if (!reading.file && errno == ENOENT && !is_wanted)
        return MR_OK;
    if (!reading.file) {
        return mr_err_setf(err, MR_BAD_SETTING, "The settings file cannot be opened.",
            "Check the path and who may read it.", "%s: %s.", path, strerror(errno));
    }
    status = parse_file(&reading);
    fclose(reading.file);
    return status;
}

/* ---- Environment and flags ------------------------------------------------------------ */

static enum mr_status
load_env(struct mr_conf *conf, struct mr_err *err)
{
    char name[MR_CONF_NAME_MAX + sizeof "MILLRACE_"];

    for (size_t i = 0; i < conf->count; i++) {
        const char *text = getenv(mr_conf_env_name(&conf->rows[i], name));
        enum mr_status status = text ? set(conf, i, text, name, err) : MR_OK;

        if (status)
            return status;
    }
    return MR_OK;
}

/* The index of the flag in `word`, conf->count for --config, -1 if it is not ours. */
static long
find_flag(const struct mr_conf *conf, const char *word)
{
    char name[MR_CONF_NAME_MAX + sizeof "--"];
    size_t n = strcspn(word, "=");

    if (strncmp(word, "--config", n) == 0 && n == strlen("--config"))
        return (long)conf->count;
    for (size_t i = 0; i < conf->count; i++) {
        mr_conf_flag_name(&conf->rows[i], name);
        if (strlen(name) == n && strncmp(word, name, n) == 0)
            return (long)i;
    }
    return -1;
}

/* given[i] is the text of flag i, given[count] that of --config; they point into argv. */
static enum mr_status
scan_flags(const struct mr_conf *conf, int argc, char **argv, int *argi,
    const char **given, struct mr_err *err)
{
    while (*argi < argc) {
        const char *word = argv[*argi];
        long at = find_flag(conf, word);
        const char *equals = strchr(word, '=');
        bool is_bool =
            at >= 0 && at < (long)conf->count && conf->rows[at].type == MR_CONF_BOOL;

        if (at < 0)
            return MR_OK;
        if (equals) {
            given[at] = equals + 1;
        } else if (is_bool) {
            given[at] = "true";
        } else if (*argi + 1 < argc) {
            given[at] = argv[++*argi];
        } else {
            return mr_err_setf(err, MR_BAD_SETTING, "A flag has no value.",
                "Write its value behind it.", "%s is the last word.", word);
        }
        ++*argi;
    }
    return MR_OK;
}

static enum mr_status
apply_flags(struct mr_conf *conf, const char *const *given, struct mr_err *err)
{
    char name[MR_CONF_NAME_MAX + sizeof "--"];

    for (size_t i = 0; i < conf->count; i++) {
        enum mr_status status = MR_OK;

        if (given[i]) {
            mr_conf_flag_name(&conf->rows[i], name);
            status = set(conf, i, given[i], name, err);
        }
        if (status)
            return status;
    }
    return MR_OK;
}

enum mr_status
mr_conf_load(struct mr_conf *conf, int argc, char **argv, int *argi, struct mr_err *err)
{
    const char *given[MR_CONF_ROWS_MAX + 1] = {NULL};
    enum mr_status status = scan_flags(conf, argc, argv, argi, given, err);
    const char *path = given[conf->count];

    if (!path)
        path = getenv("MILLRACE_CONFIG");
    if (!status)
        status = set_defaults(conf, err);
    if (!status)
        status = load_file(conf, path ? path : FILE_DEFAULT, path != NULL, err);
    if (!status)
        status = load_env(conf, err);
    if (!status)
        status = apply_flags(conf, given, err);
    return status;
}
