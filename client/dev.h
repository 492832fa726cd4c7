/*
 * Everything on one machine: a private PostgreSQL, a broker and workers as child processes.
 * A child that dies is started again; all go when we go. One thread, main.
 */
#ifndef MR_CLIENT_DEV_H
#define MR_CLIENT_DEV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/status.h"

struct mr_dev_options {
    const char *dir;   /* of data, logs and endpoints.ini */
    bool is_dir_given; /* by the user: then another place will not do (see cluster.h) */
    int64_t workers, threads; /* threads 0: the worker's default */
    const char *load;         /* NULL: none */
    const char *front, *back; /* NULL: a free port of 127.0.0.1 */
    const char *pack;         /* NULL: none */
    bool only_database;
};

/* Runs until SIGINT, SIGTERM or SIGHUP, which it blocks. `out` gets the endpoints, `err` what
 * happens. MR_OK after a stop that was asked for. */
enum mr_status mr_dev_run(const struct mr_dev_options *options, FILE *out, FILE *err_out,
    bool is_json, struct mr_err *err) MR_MUST_CHECK;

#endif
