#include "client/audit_chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define MAGIC "millrace audit 1"

static const char changed_todo[] = "Somebody wrote past the audit log's function. "
                                   "Compare with a copy; find out who has the "
                                   "rights of the database's owner.";

void
mr_audit_chain_init(struct mr_audit_chain *chain, const char *noted)
{
    *chain = (struct mr_audit_chain){.noted = noted};
    memset(chain->hash, '0', MR_AUDIT_HASH_HEX - 1);
    /* Before the first row, too, a head may have been noted. */
    chain->has_noted = noted && strcmp(noted, chain->hash) == 0;
}

/* ---- the encoding ------------------------------------------------------------------------------ */

static void
add_bytes(crypto_hash_sha256_state *state, const void *bytes, size_t n)
{
    const uint8_t head[5] = {
        1, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

    (void)crypto_hash_sha256_update(state, head, sizeof head);
    (void)crypto_hash_sha256_update(state, bytes, n);
}

static void
add_text(crypto_hash_sha256_state *state, const char *text)
{
    static const uint8_t null = 0;

    if (text)
        add_bytes(state, text, strlen(text));
    else
        (void)crypto_hash_sha256_update(state, &null, 1);
}

/* What is not hex, or of another length, is hashed as it is: it will not match. */
static void
add_hex(crypto_hash_sha256_state *state, const char *hex)
{
    uint8_t bytes[crypto_hash_sha256_BYTES];
    size_t n = 0;

    if (hex && sodium_hex2bin(bytes, sizeof bytes, hex, strlen(hex), NULL, &n, NULL) == 0)
        add_bytes(state, bytes, n);
    else
        add_text(state, hex);
}

void
mr_audit_chain_hash(
    const char *const columns[MR_AUDIT_COLUMNS], char hash[MR_AUDIT_HASH_HEX])
{
    crypto_hash_sha256_state state;
    uint8_t bytes[crypto_hash_sha256_BYTES];

    (void)crypto_hash_sha256_init(&state);
    add_text(&state, MAGIC);
    for (int i = 0; i < MR_AUDIT_PREVIOUS; i++)
        add_text(&state, columns[i]);
    add_hex(&state, columns[MR_AUDIT_PREVIOUS]);
    (void)crypto_hash_sha256_final(&state, bytes);
    (void)sodium_bin2hex(hash, MR_AUDIT_HASH_HEX, bytes, sizeof bytes);
}

/* ---- row by row -------------------------------------------------------------------------------- */

#define BAD(err, ...)                                                                    \
    mr_err_setf(err, MR_CONFLICT, "The audit log is not what was written.",              \
        changed_todo, __VA_ARGS__)

enum mr_status
mr_audit_chain_add(struct mr_audit_chain *chain,
    const char *const columns[MR_AUDIT_COLUMNS], struct mr_err *err)
{
    int64_t seq =
        columns[MR_AUDIT_SEQ] ? strtoll(columns[MR_AUDIT_SEQ], NULL, 10) : INT64_MIN;
    const char *previous = columns[MR_AUDIT_PREVIOUS], *stored = columns[MR_AUDIT_HASH];
    char hash[MR_AUDIT_HASH_HEX];

    if (seq > chain->last_seq + 1)
        return BAD(err, "Row %" PRId64 " is missing: row %" PRId64 " comes in its place.",
            chain->last_seq + 1, seq);
    if (seq != chain->last_seq + 1)
        return BAD(err, "Row %" PRId64 " does not belong there: row %" PRId64 " is next.",
            seq, chain->last_seq + 1);
    if (!previous || strcmp(previous, chain->hash) != 0)
        return BAD(err,
            "Row %" PRId64 " does not follow row %" PRId64 ": one of them was changed.",
            seq, seq - 1);
    mr_audit_chain_hash(columns, hash);
    if (!stored || strcmp(stored, hash) != 0)
        return BAD(
            err, "Row %" PRId64 " was changed: its hash is not that of its fields.", seq);
    chain->rows++;
    chain->last_seq = seq;
    memcpy(chain->hash, hash, sizeof chain->hash);
    chain->has_noted = chain->has_noted || (chain->noted && !strcmp(chain->noted, hash));
    return MR_OK;
}

enum mr_status
mr_audit_chain_end(const struct mr_audit_chain *chain, const struct mr_audit_end *end,
    struct mr_err *err)
{
    if (!end->has_head)
        return BAD(err, "The row that says which one is the last is missing.");
    if (end->head_seq != end->last_seq)
        return BAD(err,
            "Row %" PRId64 " should be the last one, and row %" PRId64
            " is: rows were cut off, or put behind the end.",
            end->head_seq, end->last_seq);
    if (end->rows != end->last_seq)
        return BAD(err, "There are %" PRId64 " rows with %" PRId64 " numbers.", end->rows,
            end->last_seq);
    if (end->last_seq > chain->last_seq)
        return MR_BUSY;
    if (end->last_seq != chain->last_seq || strcmp(end->head_hash, chain->hash) != 0)
        return BAD(err,
            "Row %" PRId64
            " is not the one that was written last, although its number is.",
            chain->last_seq);
    if (chain->noted && !chain->has_noted)
        return mr_err_set(err, MR_CONFLICT,
            "The audit log is not the one that was noted.",
            "No row has the hash that was noted: rows from there on were written anew, "
            "or it "
            "is the head of another database.",
            changed_todo);
    return MR_OK;
}
