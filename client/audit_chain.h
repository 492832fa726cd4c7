/*
 * The chain of the audit log, computed anew from the rows as they are read: the hash of a row is
 * SHA-256 over an encoding of its columns and of the hash before it (schemas/sql/README.md).
 * Nothing here asks the database what a hash should be. One thread, constant memory.
 */
#ifndef MR_CLIENT_AUDIT_CHAIN_H
#define MR_CLIENT_AUDIT_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "schemas/sql/audit.h"

#define MR_AUDIT_HASH_HEX 65 /* with its terminator */

struct mr_audit_chain {
    int64_t rows, last_seq; /* so far */
    char hash[MR_AUDIT_HASH_HEX];
    const char *noted; /* a head that was noted elsewhere; NULL: none */
    bool has_noted;    /* some row has it */
};

void mr_audit_chain_init(struct mr_audit_chain *chain, const char *noted);

/* Hash that a row has to have, from its columns up to MR_AUDIT_PREVIOUS. */
void mr_audit_chain_hash(
    const char *const columns[MR_AUDIT_COLUMNS], char hash[MR_AUDIT_HASH_HEX]);

/* The next row. Else: MR_CONFLICT with what is wrong in `err`; then the chain stays where it is. */
enum mr_status mr_audit_chain_add(struct mr_audit_chain *chain,
    const char *const columns[MR_AUDIT_COLUMNS], struct mr_err *err) MR_MUST_CHECK;

/* Behind the last row that there is. MR_OK: all is well. MR_BUSY: rows were added meanwhile, go on
 * reading. MR_CONFLICT as above. */
enum mr_status mr_audit_chain_end(const struct mr_audit_chain *chain,
    const struct mr_audit_end *end, struct mr_err *err) MR_MUST_CHECK;

#endif
