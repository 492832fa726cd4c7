/*
 * The thread that makes the results of calculations durable: whatever gathered while the last
 * transaction was under way is the next one. It keeps what it cannot store, and tries again,
 * for as long as the database is away; how much that may be is bounded by the credit that is not
 * given out meanwhile.
 */
#ifndef MR_WORKER_COMMITTER_H
#define MR_WORKER_COMMITTER_H

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"

struct mr_committer;

/* `session` gets the attempts back, reported. Texts and boxes are borrowed. */
enum mr_status mr_committer_new(struct mr_committer **out, const char *conninfo,
    const char *db_name, struct mr_mailbox *session) MR_MUST_CHECK;

/* Where executors give attempts, attempt->finish filled. */
struct mr_mailbox *mr_committer_box(struct mr_committer *committer);

/* From now on what cannot be stored at once is given back to the broker. Once. */
void mr_committer_hurry(struct mr_committer *committer);

/* After every executor has ended. Gives what is left back to the session first. */
void mr_committer_destroy(struct mr_committer **committer);

#endif
