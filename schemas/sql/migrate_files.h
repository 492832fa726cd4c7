/*
 * The migrations, compiled in. To add one: write the file, add its line in migrate_files.c.
 */
#ifndef MR_SQL_MIGRATE_FILES_H
#define MR_SQL_MIGRATE_FILES_H

struct mr_migration {
    const char *set;
    int number; /* from 1, without gaps within a set */
    const char *name;
    const char *text; /* SQL, terminated */
};

/* Ends with a row whose set is NULL. Within a set by number. */
extern const struct mr_migration mr_migrate_files[];

/* roles.sql: no version, applied after them every time. */
extern const char *const mr_migrate_roles;

#endif
