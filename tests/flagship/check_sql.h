/* The checks that are questions to the database. Only for check.c. */
#ifndef MR_FLAGSHIP_CHECK_SQL_H
#define MR_FLAGSHIP_CHECK_SQL_H

#include <stddef.h>

/* Each query gives one row: examined, damage, worst example. It may use the temporary table
 * provider_charge(charge, key, ride, cents). */
struct mr_check_sql {
    const char *name, *rule, *query;
};

extern const struct mr_check_sql mr_check_sql_all[];
extern const size_t mr_check_sql_count;

#endif
