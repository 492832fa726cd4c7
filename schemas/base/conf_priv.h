/*
 * What conf*.c share. Nobody else includes this.
 */
#ifndef MR_BASE_CONF_PRIV_H
#define MR_BASE_CONF_PRIV_H

#include "schemas/base/conf.h"

#define MR_CONF_NAME_MAX 64  /* bytes of a setting's name, with the terminator */
#define MR_CONF_ROWS_MAX 128 /* rows of one table */

struct mr_conf {
    const char *section; /* static */
    const struct mr_conf_row *rows;
    size_t count;
    void *values;
    char **origins; /* one per row: "default", "FILE:LINE", "MILLRACE_X", "--x"; owned */
};

/* "MILLRACE_NAME" and "--name" of a row; return out. */
char *mr_conf_env_name(
    const struct mr_conf_row *row, char out[MR_CONF_NAME_MAX + sizeof "MILLRACE_"]);
char *mr_conf_flag_name(
    const struct mr_conf_row *row, char out[MR_CONF_NAME_MAX + sizeof "--"]);

#define MR_CONF_NEAR_MAX 3 /* edits; what mr_nearest() uses */

/* mr_nearest() with another limit. */
const char *mr_conf_nearest(
    const char *word, const char *const *names, size_t count, size_t distance_max);

#endif
