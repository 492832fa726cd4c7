/*
 * What seal.c and seal_ring.c share. Nobody else includes this.
 */
#ifndef MR_WIRE_SEAL_PRIV_H
#define MR_WIRE_SEAL_PRIV_H

#include "schemas/wire/seal.h"

#define MR_SEAL_SECRET_BYTES 32u
#define MR_SEAL_ID_BYTES 8u

/* All but the secret is derived from it. */
struct mr_seal_key {
    uint8_t secret[MR_SEAL_SECRET_BYTES];
    uint8_t id[MR_SEAL_ID_BYTES];
    uint8_t sealing[32]; /* of the cipher */
    uint8_t naming[32];  /* of the nonce */
};

struct mr_seal_ring {
    uint32_t count;
    struct mr_seal_key keys[MR_SEAL_KEYS_MAX];
};

/* Fill in what follows from the secret. */
void mr_seal_derive(struct mr_seal_key *key);

/* Lower case, terminated. */
char *mr_seal_hex(const uint8_t *bytes, size_t n, char *out);

#endif
