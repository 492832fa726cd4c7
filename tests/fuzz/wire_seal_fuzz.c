/*
 * Any bytes as a keyring, as the kind of a job, and as a payload to be opened: refused, or what comes out
 * goes in again as the same bytes. What is sealed opens; with one byte changed it does not.
 */
#include "tests/fuzz/fuzz.h"

#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"
#include "schemas/wire/seal.h"

const char *const fuzz_seeds[] = {"schemas/wire/vectors/seal/sealed.txt", NULL};

#define LINE                                                                             \
    "7096ce09a3ccc02f "                                                                  \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

static struct mr_seal_ring *ring;

static void
take_ring(struct mr_span text)
{
    struct mr_seal_ring *its;
    struct mr_err err = {0};
    enum mr_status status = mr_seal_ring_parse(text, "fuzz", &its, &err);
    char id[MR_SEAL_ID_TEXT];

    MR_ASSERT(status == MR_OK || (status == MR_BAD_SETTING && err.why[0] && !its));
    if (status)
        return;
    MR_ASSERT(
        mr_seal_ring_count(its) >= 1 && mr_seal_ring_count(its) <= MR_SEAL_KEYS_MAX);
    MR_ASSERT(strlen(mr_seal_ring_id(its, mr_seal_ring_count(its) - 1, id)) == 16);
    mr_seal_ring_destroy(&its);
}

static void
take_sealed(const struct mr_seal_job *job, struct mr_span bytes)
{
    uint8_t *copy = malloc(bytes.n ? bytes.n : 1), *again;
    struct mr_span plain;
    char key[MR_SEAL_ID_TEXT];
    enum mr_status status;

    MR_ASSERT(copy);
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    status = mr_seal_open(ring, job, copy, bytes.n, &plain);
    MR_ASSERT((status != MR_MALFORMED) == mr_seal_key_of(bytes, key));
    if (mr_seal_is_sealed(bytes))
        MR_ASSERT(mr_pack_scan(bytes, MR_PAYLOAD_DEPTH_MAX) != MR_OK);
    if (status == MR_OK) {
        again = malloc(mr_seal_bytes(plain.n));
        MR_ASSERT(again && mr_seal(ring, 0, job, plain, again) == MR_OK);
        MR_ASSERT(mr_seal_bytes(plain.n) == bytes.n);
        free(again);
    }
    free(copy);
}

static void
put_in(const struct mr_seal_job *job, struct mr_span plain, size_t at)
{
    size_t n = mr_seal_bytes(plain.n);
    uint8_t *sealed = malloc(n), *copy = malloc(n);
    enum mr_status status;
    struct mr_span opened;

    MR_ASSERT(sealed && copy);
    status = mr_seal(ring, 0, job, plain, sealed);
    MR_ASSERT(
        (status == MR_OK) == (job->kind.n >= 1 && job->kind.n <= MR_NAME_BYTES_MAX));
    if (status == MR_OK) {
        memcpy(copy, sealed, n);
        MR_ASSERT(mr_seal_open(ring, job, copy, n, &opened) == MR_OK);
        MR_ASSERT(mr_span_eq(opened, plain));
        sealed[at % n] ^= 1;
        MR_ASSERT(mr_seal_open(ring, job, sealed, n, &opened) != MR_OK && opened.n == 0);
    }
    free(sealed);
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fuzz_in in = {bytes, bytes + n};
    struct mr_seal_job job = {.id = {{0}}};
    struct mr_err err;
    uint8_t *kind;
    size_t kind_n, at;

    if (!ring)
        MR_ASSERT(mr_seal_ring_parse(mr_span_str(LINE), "fuzz", &ring, &err) == MR_OK);
    take_ring(mr_span(bytes, n));
    at = fuzz_byte(&in);
    kind = fuzz_chunk(&in, &kind_n);
    job.kind = mr_span(kind, kind_n);
    put_in(&job, mr_span(in.p, (size_t)(in.end - in.p)), at);
    take_sealed(&job, mr_span(in.p, (size_t)(in.end - in.p)));
    take_sealed(&job, mr_span(bytes, n));
    free(kind);
    return 0;
}
