/*
 * What link*.c share. Nobody else includes this.
 */
#ifndef MR_WORKER_LINK_PRIV_H
#define MR_WORKER_LINK_PRIV_H

#include "schemas/wire/msg.h"
#include "worker/db.h"
#include "worker/link.h"
#include "worker/pool.h"
#include "worker/session.h"

struct _zactor_t;

enum mr_link_state { MR_LINK_DOWN, MR_LINK_GREETING, MR_LINK_UP };

struct mr_link {
    struct mr_link_conf conf;
    struct mr_mailbox *box;
    struct mr_note drain, hurry; /* from main: the first and the second time */
    int drains;                  /* main thread */
    struct mr_link_over over;
    struct _zactor_t *actor;

    /* Own thread from here on. */
    struct mr_session *session;
    struct mr_pool *pool;
    char db_name[MR_DB_NAME_MAX];
    struct mr_offer *offers;

    void *context, *socket;
    void *monitor; /* says why a handshake failed; NULL without memory for it */
    enum mr_link_state state;
    struct mr_wr out; /* the message that could not be sent yet */
    uint64_t corr;    /* of HELLO */
    const char *rest; /* of the list of endpoints */
    char endpoint[256];
    uint32_t rounds; /* through the list without a WELCOME */
    uint64_t random;
    int64_t heard_us, asked_us, heartbeat_us, greet_until_us, next_try_us;

    bool must_fall;      /* give the connection up at the end of the turn; `why` */
    bool is_refused;     /* ... and do not come back soon */
    bool has_complained; /* one line in the log for each outage */
    bool is_ready;       /* there was a WELCOME */
    bool is_out_of_threads;
    char why[384];
};

/* link.c: send what is in `out`, or keep it. */
void mr_link_send(struct mr_link *link);

/* link_talk.c */
void mr_link_talk_fall(struct mr_link *link, const char *why, struct mr_span text);
void mr_link_talk_frame(struct mr_link *link, struct mr_span frame, struct mr_now now);

#endif
