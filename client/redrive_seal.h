/*
 * A dead job whose payload is sealed, once more: the payload opens under the old id only, so it is sealed
 * anew for the new one, here, where the keys are.
 */
#ifndef MR_CLIENT_REDRIVE_SEAL_H
#define MR_CLIENT_REDRIVE_SEAL_H

#include "client/cli.h"
#include "schemas/wire/seal.h"

/* The keyring of the settings. NULL without a failure: there is none. */
enum mr_status mr_redrive_seal_ring(const struct mr_cli *cli, struct mr_seal_ring **out,
    struct mr_err *err) MR_MUST_CHECK;

/* Redrive it; *verdict is the broker's (id, verdict, as), owned by the caller. MR_NOT_FOUND: the ring
 * does not have the key; MR_DENIED: it does not open; or what the broker says. */
enum mr_status mr_redrive_seal_one(struct mr_cli *cli, const struct mr_seal_ring *ring,
    const struct millrace_id *id, json_t **verdict, struct mr_err *err) MR_MUST_CHECK;

#endif
