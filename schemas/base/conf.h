/*
 * Settings from one table: flag over MILLRACE_* variable over ini file over default. The same
 * table prints --help, the sample file and `config show --origin`. The ini file is read by
 * inih. Used by main threads before others start.
 */
#ifndef MR_BASE_CONF_H
#define MR_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/status.h"

enum mr_conf_type { MR_CONF_STRING, MR_CONF_INT, MR_CONF_BOOL, MR_CONF_CHOICE };

/* One row. The flag is --name with hyphens, the variable MILLRACE_NAME in capitals with
 * underscores, the ini key `name`. `offset` is where the value lies in the program's own
 * settings struct: const char * for strings and choices, int64_t for numbers, bool. */
struct mr_conf_row {
    const char *name; /* lower_case, unit last */
    enum mr_conf_type type;
    size_t offset;
    const char *initial; /* the default, as text; NULL: empty */
    int64_t min, max;    /* numbers only */
    const char *choices; /* "a|b|c", choices only */
    const char *help;    /* one line */
    bool is_secret;      /* shown as "***" */
};

struct mr_conf; /* the table with values and their origins */

/* `rows` ends with a row whose name is NULL and has static storage; `values` is the struct
 * that the offsets point into. `section` is the ini section that is ours ("broker"); keys of
 * [common] are read too; other sections are left alone. */
enum mr_status mr_conf_new(struct mr_conf **out, const char *section,
    const struct mr_conf_row *rows, void *values) MR_MUST_CHECK;
void mr_conf_destroy(struct mr_conf **conf); /* frees the strings in `values` too */

/*
 * Apply default, file, environment and flags in that order. `argv` is scanned from index
 * `*argi`; it stops at the first word that is not one of our flags and leaves its index in
 * `*argi`. --config FILE is understood by itself; without it MILLRACE_CONFIG, then
 * ./millrace.ini if it exists. A wrong key or value gives MR_BAD_SETTING and `err` with file,
 * line and the nearest valid name.
 */
enum mr_status mr_conf_load(struct mr_conf *conf, int argc, char **argv, int *argi,
    struct mr_err *err) MR_MUST_CHECK;

/* One "name = value  # origin" a line; origin is default, FILE:LINE, MILLRACE_X or --x. */
void mr_conf_show(const struct mr_conf *conf, FILE *out, bool with_origin);
void mr_conf_print_sample(const struct mr_conf *conf, FILE *out);
void mr_conf_print_help(const struct mr_conf *conf, FILE *out);

/* The nearest of `count` names by edit distance, NULL if none is within 3. Also used for
 * kinds and commands ("did you mean"). */
const char *mr_nearest(const char *word, const char *const *names, size_t count);

#endif
