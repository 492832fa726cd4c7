#include "schemas/wire/seal.h"

#include <stdlib.h>

#include <sodium.h>

#include "schemas/wire/limits.h"
#include "schemas/wire/seal_priv.h"

#define VERSION 1
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
/* Version, id of the key, nonce; then as many bytes as the payload has, and the tag. */
#define HEAD_BYTES (1 + MR_SEAL_ID_BYTES + NONCE_BYTES)
#define BODY_BYTES_MIN (HEAD_BYTES + TAG_BYTES)

/* ---- keys -------------------------------------------------------------------------------------- */

_Static_assert(
    MR_SEAL_SECRET_BYTES == crypto_kdf_KEYBYTES, "a key is one of libsodium's");

void
mr_seal_derive(struct mr_seal_key *key)
{
    static const char context[crypto_kdf_CONTEXTBYTES + 1] = "mrseal01";
    uint8_t id[crypto_kdf_BYTES_MIN];

    (void)crypto_kdf_derive_from_key(
        key->sealing, sizeof key->sealing, 1, context, key->secret);
    (void)crypto_kdf_derive_from_key(
        key->naming, sizeof key->naming, 2, context, key->secret);
    (void)crypto_kdf_derive_from_key(id, sizeof id, 3, context, key->secret);
    memcpy(key->id, id, sizeof key->id);
}

/* NULL: the ring does not have it. */
static const struct mr_seal_key *
find_key(const struct mr_seal_ring *ring, const uint8_t *id)
{
    for (uint32_t i = 0; ring && i < ring->count; i++)
        if (memcmp(ring->keys[i].id, id, MR_SEAL_ID_BYTES) == 0)
            return &ring->keys[i];
    return NULL;
}

char *
mr_seal_hex(const uint8_t *bytes, size_t n, char *out)
{
    return sodium_bin2hex(out, 2 * n + 1, bytes, n);
}

void
mr_seal_wipe(void *memory, size_t n)
{
    if (n)
        sodium_memzero(memory, n);
}

/* ---- form -------------------------------------------------------------------------------------- */

/* What everybody can read of it, and nobody can change. */
struct bound {
    uint8_t bytes[1 + MR_SEAL_ID_BYTES + sizeof(struct mr_uuid) + 1 + MR_NAME_BYTES_MAX];
    size_t n;
};

static void
add(struct bound *bound, const void *bytes, size_t n)
{
    memcpy(bound->bytes + bound->n, bytes, n);
    bound->n += n;
}

static bool
bind_to(struct bound *bound, const uint8_t *key_id, const struct mr_seal_job *job)
{
    const uint8_t version = VERSION, kind_bytes = (uint8_t)job->kind.n;

    bound->n = 0;
    if (job->kind.n == 0 || job->kind.n > MR_NAME_BYTES_MAX)
        return false;
    add(bound, &version, 1);
    add(bound, key_id, MR_SEAL_ID_BYTES);
    add(bound, job->id.b, sizeof job->id.b);
    add(bound, &kind_bytes, 1);
    add(bound, job->kind.p, job->kind.n);
    return true;
}

/* Bytes of the length of a body of `n` bytes in its shortest form. */
static size_t
width_of(size_t n)
{
    return n <= UINT8_MAX ? 1 : n <= UINT16_MAX ? 2 : 4;
}

size_t
mr_seal_bytes(size_t n)
{
    return 2 + width_of(n + BODY_BYTES_MIN) + n + BODY_BYTES_MIN;
}

/* ext 8, 16 or 32; returns where the body begins. */
static uint8_t *
put_head(uint8_t *out, size_t body)
{
    size_t width = width_of(body);

    *out++ = (uint8_t)(width == 1 ? 0xc7 : width == 2 ? 0xc8 : 0xc9);
    for (size_t i = width; i-- > 0;)
        *out++ = (uint8_t)(body >> (8 * i));
    *out++ = MR_SEAL_EXT;
    return out;
}

/* The body of a payload of our form, of which there is one for each length; empty otherwise. */
static struct mr_span
body_of(struct mr_span payload)
{
    size_t width, body = 0;

    if (!mr_seal_is_sealed(payload) || payload.n < 2 + 1 + BODY_BYTES_MIN)
        return MR_SPAN_NONE;
    width = (size_t)1 << (payload.p[0] - 0xc7);
    for (size_t i = 1; i <= width; i++)
        body = body << 8 | payload.p[i];
    if (body != payload.n - 2 - width || width != width_of(body) ||
        body < BODY_BYTES_MIN || payload.p[1 + width] != MR_SEAL_EXT ||
        payload.p[2 + width] != VERSION)
        return MR_SPAN_NONE;
    return mr_span(payload.p + 2 + width, body);
}

bool
mr_seal_key_of(struct mr_span payload, char out[MR_SEAL_ID_TEXT])
{
    struct mr_span body = body_of(payload);

    out[0] = '\0';
    if (body.n)
        (void)mr_seal_hex(body.p + 1, MR_SEAL_ID_BYTES, out);
    return body.n > 0;
}

/* ---- sealing and opening ------------------------------------------------------------------------- */

/* From all that matters: what is the same job has the same bytes, what is not has another nonce. */
static void
make_nonce(const struct mr_seal_key *key, const struct bound *bound, struct mr_span plain,
    uint8_t *out)
{
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, key->naming, sizeof key->naming, NONCE_BYTES);
    (void)crypto_generichash_update(&state, bound->bytes, bound->n);
    if (plain.n)
        (void)crypto_generichash_update(&state, plain.p, plain.n);
    (void)crypto_generichash_final(&state, out, NONCE_BYTES);
    sodium_memzero(&state, sizeof state);
}

enum mr_status
mr_seal(const struct mr_seal_ring *ring, uint32_t index, const struct mr_seal_job *job,
    struct mr_span plain, uint8_t *out)
{
    const struct mr_seal_key *key;
    struct bound bound;
    uint8_t *body;

    if (index >= ring->count)
        return MR_BAD_ARGUMENT;
    key = &ring->keys[index];
    if (plain.n > MR_PAYLOAD_BYTES_MAX || mr_seal_bytes(plain.n) > MR_PAYLOAD_BYTES_MAX)
        return MR_TOO_BIG;
    if (!bind_to(&bound, key->id, job))
        return MR_BAD_ARGUMENT;
    body = put_head(out, BODY_BYTES_MIN + plain.n);
    body[0] = VERSION;
    memcpy(body + 1, key->id, MR_SEAL_ID_BYTES);
    make_nonce(key, &bound, plain, body + 1 + MR_SEAL_ID_BYTES);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(body + HEAD_BYTES, NULL, plain.p,
        plain.n, bound.bytes, bound.n, NULL, body + 1 + MR_SEAL_ID_BYTES, key->sealing);
    return MR_OK;
}

enum mr_status
mr_seal_open(const struct mr_seal_ring *ring, const struct mr_seal_job *job,
    uint8_t *bytes, size_t n, struct mr_span *plain)
{
    struct mr_span body = body_of(mr_span(bytes, n));
    uint8_t *at = bytes + (n - body.n); /* its beginning */
    const struct mr_seal_key *key;
    struct bound bound;

    *plain = MR_SPAN_NONE;
    if (!body.n)
        return MR_MALFORMED;
    key = find_key(ring, at + 1);
    if (!key)
        return MR_NOT_FOUND;
    if (!bind_to(&bound, key->id, job) ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(at + HEAD_BYTES, NULL, NULL,
            at + HEAD_BYTES, body.n - HEAD_BYTES, bound.bytes, bound.n,
            at + 1 + MR_SEAL_ID_BYTES, key->sealing) != 0)
        return MR_DENIED;
    *plain = mr_span(at + HEAD_BYTES, body.n - BODY_BYTES_MIN);
    return MR_OK;
}

enum mr_status
mr_seal_again(const struct mr_seal_ring *ring, const struct mr_seal_job *job,
    uint8_t *bytes, size_t n)
{
    struct mr_span body = body_of(mr_span(bytes, n)), plain;
    const struct mr_seal_key *key = body.n ? find_key(ring, body.p + 1) : NULL;
    enum mr_status status;
    uint8_t *copy;

    if (!body.n)
        return MR_MALFORMED;
    if (!key || key == &ring->keys[ring->count - 1])
        return MR_NOT_FOUND;
    copy = malloc(n);
    if (!copy)
        return MR_NO_MEMORY;
    memcpy(copy, bytes, n);
    status = mr_seal_open(ring, job, copy, n, &plain);
    if (status == MR_OK)
        status = mr_seal(ring, (uint32_t)(key - ring->keys) + 1, job, plain, bytes);
    sodium_memzero(copy, n);
    free(copy);
    return status;
}
