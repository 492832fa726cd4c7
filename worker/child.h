/*
 * The worker's side of a child process in which isolated kinds run: one for each executor, started
 * when it is first needed and kept for the next attempts, until it has served enough of them, has
 * grown too large, or is gone. Whatever happens in it, the executor comes back with a report.
 * Belongs to the executor's thread, which lives longer than the child: the child dies with it.
 */
#ifndef MR_WORKER_CHILD_H
#define MR_WORKER_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "worker/attempt.h"
#include "worker/run.h"
#include "worker/settings.h"

struct mr_opener;

/* The first argument by which millrace-worker knows that it is one. */
#define MR_CHILD_ARGUMENT "--isolated-child"
#define MR_CHILD_FD 3 /* where it finds its end of the socket pair */
/* It cannot read there any more, and nobody has hung up. */
#define MR_CHILD_EXIT_DEAF 113

struct mr_child_conf {
    const char *program; /* millrace-worker; all is borrowed */
    const struct mr_settings *settings;
    const char *loads, *db_name;
    const struct mr_opener
        *opener; /* seals what it asks for; NULL or without a ring: nothing */

    /* Of the executor. */
    struct mr_span worker; /* name for people */
    uint32_t number;
    struct mr_mailbox *box; /* looked at while an attempt runs */
    void *context;
    /* Something is in the box. True: the executor has to end, so the child is killed. */
    bool (*take_notes)(void *context);
};

struct mr_child;

/* No process yet. */
enum mr_status mr_child_new(
    struct mr_child **out, const struct mr_child_conf *conf) MR_MUST_CHECK;
/* Ends the process: in order if it heeds, else by force. */
void mr_child_destroy(struct mr_child **child);

/* Run it there. Blocks until it is over or its process was killed: once it has to stop
 * (attempt->stop) and isolate_grace_ms have passed, unless it is being stored. */
enum mr_run_end mr_child_run(struct mr_child *child, struct mr_attempt *attempt);

/* Between attempts: let go of a process that has served long enough; have another one ready in the
 * place of one that is gone. */
void mr_child_tend(struct mr_child *child);

/* 0: there is none. */
pid_t mr_child_pid(const struct mr_child *child);

#endif
