/*
 * Sealed payloads in the worker: opens an attempt's arguments before its handler sees them, and seals
 * those of follow-up jobs. Made by the main thread before others start, read-only afterwards. Child
 * processes have none: they are sent what is open already, and ask the worker to seal.
 */
#ifndef MR_WORKER_OPENER_H
#define MR_WORKER_OPENER_H

#include <stdbool.h>

#include "schemas/wire/seal.h"
#include "worker/attempt.h"
#include "worker/registry.h"
#include "worker/run.h"

struct mr_opener {
    struct mr_seal_ring *ring; /* NULL: none */
    bool *
        only; /* by a kind's place in the registry: must be sealed; NULL: no kind has to be */
};

/* The keyring that the setting seal_file names, or the one that systemd gives. While we may read it. */
enum mr_status mr_opener_read(
    struct mr_opener *opener, const char *seal_file, struct mr_err *err) MR_MUST_CHECK;
/* The kinds that seal_only means; what it names in vain is logged. */
enum mr_status mr_opener_choose(struct mr_opener *opener, const char *seal_only,
    const struct mr_registry *registry) MR_MUST_CHECK;
void mr_opener_fini(struct mr_opener *opener);

/* What mr_opener_open does when there is something to look at. */
bool mr_opener_look(const struct mr_opener *opener, struct mr_attempt *attempt);

/* The attempt's payload is what its handler may see. False: it will not be, and that is reported; to be
 * tried again if another worker may have the key. The report says nothing of the payload. */
static inline bool
mr_opener_open(const struct mr_opener *opener, struct mr_attempt *attempt)
{
    if (!opener || (!mr_seal_is_sealed(attempt->payload) && !opener->only))
        return true;
    return mr_opener_look(opener, attempt);
}

/* Seal the payload of a follow-up job of `parent` with the ring's first key. */
enum mr_status mr_opener_seal(const struct mr_opener *opener, struct mr_uuid parent,
    const struct mr_seal_ask *ask) MR_MUST_CHECK;

#endif
