/*
 * Which dead jobs: by ids, or by filter, page by page. For `dead` and `redrive`.
 */
#ifndef MR_CLIENT_DEAD_QUERY_H
#define MR_CLIENT_DEAD_QUERY_H

#include "client/cli.h"

/* --kind, --queue, --reason, --since, --until as arguments of the method `dead`. *is_all: none
 * of them was given. */
enum mr_status mr_dead_query_filter(const struct mr_cli *cli, json_t *args, bool *is_all,
    struct mr_err *err) MR_MUST_CHECK;

/* The row is borrowed. */
typedef void (*mr_dead_row_fn)(void *context, json_t *row);

/* Every job that the filter lets through, the latest deaths first, at most `limit`. Returns the exit
 * code; what went wrong has been printed. Borrows `args`. */
int mr_dead_query_each(
    struct mr_cli *cli, json_t *args, int64_t limit, mr_dead_row_fn fn, void *context);

/* One job as `show` has it, if it is dead; NULL and *exit_code after it has printed why not. */
json_t *mr_dead_query_one(struct mr_cli *cli, const char *word, int *exit_code);

#endif
