#include "schemas/sql/migrate_files.h"

#include <stddef.h>

/* The file's bytes and a terminator, as a symbol of this object only. */
#define EMBED(symbol, path)                                                              \
    __asm__(".section .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.text\n");   \
    extern const char symbol[] __attribute__((visibility("hidden")))

EMBED(mr_migrate_millrace_1, "schemas/sql/0001_millrace.sql");
EMBED(mr_migrate_millrace_2, "schemas/sql/0002_backoff.sql");
EMBED(mr_migrate_millrace_3, "schemas/sql/0003_dead.sql");
EMBED(mr_migrate_millrace_4, "schemas/sql/0004_group.sql");
EMBED(mr_migrate_millrace_5, "schemas/sql/0005_finish.sql");
EMBED(mr_migrate_millrace_6, "schemas/sql/0006_rights.sql");
EMBED(mr_migrate_millrace_7, "schemas/sql/0007_audit.sql");
EMBED(mr_migrate_millrace_8, "schemas/sql/0008_roles.sql");
EMBED(mr_migrate_millrace_9, "schemas/sql/0009_seal.sql");
EMBED(mr_migrate_millrace_10, "schemas/sql/0010_owner.sql");
EMBED(mr_migrate_ride_1, "schemas/sql/ride/0001_ride.sql");
EMBED(mr_migrate_roles_text, "schemas/sql/roles.sql");

const char *const mr_migrate_roles = mr_migrate_roles_text;

const struct mr_migration mr_migrate_files[] = {
    {"millrace", 1, "0001_millrace.sql", mr_migrate_millrace_1},
    {"millrace", 2, "0002_backoff.sql", mr_migrate_millrace_2},
    {"millrace", 3, "0003_dead.sql", mr_migrate_millrace_3},
    {"millrace", 4, "0004_group.sql", mr_migrate_millrace_4},
    {"millrace", 5, "0005_finish.sql", mr_migrate_millrace_5},
    {"millrace", 6, "0006_rights.sql", mr_migrate_millrace_6},
    {"millrace", 7, "0007_audit.sql", mr_migrate_millrace_7},
    {"millrace", 8, "0008_roles.sql", mr_migrate_millrace_8},
    {"millrace", 9, "0009_seal.sql", mr_migrate_millrace_9},
    {"millrace", 10, "0010_owner.sql", mr_migrate_millrace_10},
    {"ride", 1, "ride/0001_ride.sql", mr_migrate_ride_1},
    {NULL, 0, NULL, NULL},
};
