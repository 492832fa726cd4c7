/*
 * Payloads that only clients and workers can read: whoever submits a job seals its arguments, the worker
 * that runs it opens them. To all others (broker, database, views, dumps) they are one msgpack ext value.
 * The format is in README.md, "Sealed payloads". Only seal.c and seal_ring.c of this folder use
 * libsodium. A ring is changed by one thread; once it is only read from, any number of them.
 */
#ifndef MR_WIRE_SEAL_H
#define MR_WIRE_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"

#define MR_SEAL_EXT 83 /* type of the ext value */
/* What sealing adds: to a payload of up to 206 bytes 52, up to 65,486 53, else 55. */
#define MR_SEAL_BYTES_MORE 55u
#define MR_SEAL_KEYS_MAX 16u
#define MR_SEAL_ID_TEXT 17 /* 16 hexadecimal digits and the terminator */

struct mr_seal_ring; /* keys: the first one seals, all of them open */

/* What a payload is bound to: it opens for no other. */
struct mr_seal_job {
    struct mr_uuid id;
    struct mr_span kind; /* 1 to MR_NAME_BYTES_MAX bytes */
};

/* True if a payload claims to be sealed: no payload that is not begins so, because our scanner refuses
 * ext values. Costs a look at its first byte. */
static inline bool
mr_seal_is_sealed(struct mr_span payload)
{
    return payload.n > 0 && payload.p[0] >= 0xc7 && payload.p[0] <= 0xc9;
}

/* The id of the key that a sealed payload names, as text; false (and "") if it has no form of ours. */
bool mr_seal_key_of(struct mr_span payload, char out[MR_SEAL_ID_TEXT]);

/* Bytes of a payload of `n` when it is sealed. */
size_t mr_seal_bytes(size_t n);

/* Seal with the key at `index` into out[0..mr_seal_bytes(plain.n)), which does not overlap. The same
 * ring, job and payload give the same bytes. Empty arguments (nil) are sealed, too. MR_TOO_BIG: it would
 * be above MR_PAYLOAD_BYTES_MAX. MR_BAD_ARGUMENT: the kind is no name, or there is no such key. */
enum mr_status mr_seal(const struct mr_seal_ring *ring, uint32_t index,
    const struct mr_seal_job *job, struct mr_span plain, uint8_t *out) MR_MUST_CHECK;

/*
 * Open bytes[0..n) where they lie: *plain points into them and may be empty. `ring` may be NULL.
 *     MR_NOT_FOUND  the ring does not have the key
 *     MR_DENIED     it does not open: sealed for another job or kind, or changed since
 *     MR_MALFORMED  it has no form of ours
 * Only after MR_OK and MR_DENIED are the bytes others than before.
 */
enum mr_status mr_seal_open(const struct mr_seal_ring *ring,
    const struct mr_seal_job *job, uint8_t *bytes, size_t n,
    struct mr_span *plain) MR_MUST_CHECK;

/* Seal bytes[0..n) with the key that comes after the one they are sealed with, where they lie (it is as
 * long): an older key may be what the same job was sealed with when it was submitted first.
 * MR_NOT_FOUND: there is none after it. Otherwise as mr_seal_open, or MR_NO_MEMORY. */
enum mr_status mr_seal_again(const struct mr_seal_ring *ring,
    const struct mr_seal_job *job, uint8_t *bytes, size_t n) MR_MUST_CHECK;

/* Overwrite what nobody may find any more. */
void mr_seal_wipe(void *memory, size_t n);

/* ---- seal_ring.c: keys -------------------------------------------------------------------------- */

/* A ring without keys, in memory that is neither swapped nor dumped. */
enum mr_status mr_seal_ring_new(struct mr_seal_ring **out) MR_MUST_CHECK;
/* Wipes the keys. */
void mr_seal_ring_destroy(struct mr_seal_ring **ring);

/* The lines of a ring's file. `name` is what errors call it; they never say what stands in it.
 * MR_BAD_SETTING. */
enum mr_status mr_seal_ring_parse(struct mr_span text, const char *name,
    struct mr_seal_ring **out, struct mr_err *err) MR_MUST_CHECK;

/* A file that nobody but its owner may read or write (in $CREDENTIALS_DIRECTORY the group may read, because
 * systemd grants by ACL). MR_BAD_SETTING, MR_NO_MEMORY. */
enum mr_status mr_seal_ring_read(
    const char *path, struct mr_seal_ring **out, struct mr_err *err) MR_MUST_CHECK;

/* The file that a program uses: `given` unless that is NULL or empty; else millrace.seal in
 * $CREDENTIALS_DIRECTORY if it is there (into `room`); else NULL: nothing is sealed. */
const char *mr_seal_ring_path(const char *given, char *room, size_t room_bytes);

/* Write it with mode 0600, whole or not at all. `is_new`: the file must not be there. */
enum mr_status mr_seal_ring_write(const struct mr_seal_ring *ring, const char *path,
    bool is_new, struct mr_err *err) MR_MUST_CHECK;

uint32_t mr_seal_ring_count(const struct mr_seal_ring *ring);
/* Returns out. */
char *mr_seal_ring_id(
    const struct mr_seal_ring *ring, uint32_t index, char out[MR_SEAL_ID_TEXT]);

/* A new key from the kernel's randomness, behind the others. MR_LIMIT: MR_SEAL_KEYS_MAX are there. */
enum mr_status mr_seal_ring_add(struct mr_seal_ring *ring) MR_MUST_CHECK;
/* This key to the front, or out of the ring; the others keep their order. MR_NOT_FOUND. */
enum mr_status mr_seal_ring_raise(
    struct mr_seal_ring *ring, uint32_t index) MR_MUST_CHECK;
enum mr_status mr_seal_ring_drop(struct mr_seal_ring *ring, uint32_t index) MR_MUST_CHECK;

#endif
