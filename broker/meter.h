/*
 * Where the loop's time goes: a stop-watch that is always in one phase. One clock read a change
 * of phase, so none for a job: what the core's decisions cost (SCHEDULE) and what writing them
 * into messages costs (ENCODE) alternate with every job, and are told apart by timing one item
 * in MR_METER_SAMPLE. Beside it what the loop has handled, by verb, and the commits that it
 * gave away, by size. The loop's thread.
 */
#ifndef MR_BROKER_METER_H
#define MR_BROKER_METER_H

#include <stdint.h>

#include "schemas/wire/msg.h"

enum mr_meter_phase {
    MR_METER_RECEIVE,  /* out of the sockets and the mailbox */
    MR_METER_DECODE,   /* reading messages, and the core's taking what is in them */
    MR_METER_SCHEDULE, /* what the writer answered, timers, matching, handing rows over */
    MR_METER_ENCODE,   /* jobs and events into messages (estimated) */
    MR_METER_SEND,     /* into the sockets */
    MR_METER_WAIT,     /* asleep */
};
#define MR_METER_PHASES (MR_METER_WAIT + 1)

#define MR_METER_SAMPLE 32u
#define MR_METER_SIZES 13u /* of commits: 1, 2 to 3, 4 to 7, ... 4096 and more rows */

struct mr_meter {
    int64_t at_ns; /* monotonic: since when it has been in this phase; 0: not started */
    enum mr_meter_phase phase;
    uint32_t items;    /* since the last one that was timed */
    uint64_t moved_ns; /* that ENCODE has to get out of the phase under way */
    uint64_t ns[MR_METER_PHASES], times[MR_METER_PHASES];
    uint64_t received[MR_VERB_COUNT], sent[MR_VERB_COUNT]; /* messages */
    uint64_t commits[MR_METER_SIZES], commit_ns;           /* ns: the writer's */
};

const char *mr_meter_phase_name(enum mr_meter_phase phase); /* "receive", ... */

int64_t mr_meter_now_ns(void); /* monotonic; any thread */

/* Goes on in this phase; returns the one that it was in. */
enum mr_meter_phase mr_meter_to(struct mr_meter *meter, enum mr_meter_phase phase);

/* Around one item that is encoded: the first answers when this one is to be timed, else 0, and
 * the second takes that. */
int64_t mr_meter_item(struct mr_meter *meter);
void mr_meter_item_done(struct mr_meter *meter, int64_t began_ns);

/* A commit of so many rows came back. */
void mr_meter_commit(struct mr_meter *meter, uint32_t rows, int64_t took_ns);

/* Processor time of the calling thread, in microseconds. */
uint64_t mr_meter_cpu_us(void);

#endif
