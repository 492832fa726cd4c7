/*
 * Who gets a connection: libzmq asks this thread about every handshake (RFC 27, ZAP), also about
 * plain ones. It answers from memory: the keys that the last mr_zap_publish gave it, behind a
 * keyed hash. It never does I/O, waits for nothing and allocates nothing for an answer.
 *
 * By key: a known one gets in, and its 40 characters are the "User-Id" of each of its messages.
 * Unknown and revoked keys get the same refusal; before the first keys were published all are
 * sent away for a moment, without a verdict. Plain on this host is "local", plain from beyond
 * "anyone" (the broker listens for them only if it was told to). Nothing else gets in.
 *
 * It has to be there before the first bind and to end after the last close. Should its thread fail
 * to answer, it ends the process: nobody is let in meanwhile, for the domains are enforced.
 */
#ifndef MR_BROKER_ZAP_H
#define MR_BROKER_ZAP_H

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/wire/curve.h"

#define MR_ZAP_ADDRESS_BYTES 64u

struct mr_zap;

struct mr_zap_key {
    char text[MR_CURVE_TEXT]; /* not terminated */
};

enum mr_zap_reason {
    MR_ZAP_UNKNOWN_KEY, /* or a revoked one */
    MR_ZAP_TOO_EARLY,   /* the keys have not been read yet */
    MR_ZAP_MECHANISM,   /* not the one of that endpoint */
    MR_ZAP_MALFORMED,   /* not a question of libzmq's */
};
#define MR_ZAP_REASONS (MR_ZAP_MALFORMED + 1)

/* "unknown key", ... */
const char *mr_zap_reason_text(enum mr_zap_reason reason);

/* One refusal that is worth a line: some in a second at most, the others are only counted. */
struct mr_zap_refusal {
    struct mr_node node;
    enum mr_zap_reason reason;
    char address[MR_ZAP_ADDRESS_BYTES]; /* of the peer, as libzmq has it; terminated */
    char key[MR_CURVE_ROOM];            /* "" if it had none */
    uint64_t withheld;                  /* refusals since the last one that was told */
};

/* Since the start. */
struct mr_zap_counts {
    uint64_t keys; /* that are known now */
    uint64_t admitted, refused[MR_ZAP_REASONS];
};

/* Returns when it answers. `context` is that of the listeners. MR_NO_MEMORY. */
enum mr_status mr_zap_new(struct mr_zap **out, void *context) MR_MUST_CHECK;
void mr_zap_destroy(struct mr_zap **zap);

/* From now on these and no others. Copies them; the table is made by the thread itself, and replaces
 * the last one whole. Any thread. NULL: nobody can connect. MR_NO_MEMORY: the last ones stay. */
enum mr_status mr_zap_publish(
    struct mr_zap *zap, const struct mr_zap_key *keys, size_t count) MR_MUST_CHECK;

/* Any thread. NULL: a broker that nobody can connect to, so zeros. */
void mr_zap_counts(const struct mr_zap *zap, struct mr_zap_counts *out);

/* Refusals for whoever keeps the record: one thread. The descriptor is to be polled; take until NULL
 * (which hushes it first), and give each back. */
int mr_zap_fd(const struct mr_zap *zap);
void mr_zap_hush(struct mr_zap *zap);
struct mr_zap_refusal *mr_zap_take(struct mr_zap *zap);
void mr_zap_give_back(struct mr_zap *zap, struct mr_zap_refusal *refusal);

#endif
