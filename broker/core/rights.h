/*
 * Who may do what: a snapshot of principals, their keys and what is granted to or denied them.
 * Pure and bounded; made by one thread, then read only, so that it can be handed to another one.
 *
 * A request is (principal, action, queue, kind). What is not granted is refused; what is denied is
 * refused although it is granted. A pattern is a name, which matches that name alone; or the
 * beginning of names and a star ("ride.*": "ride.match" and "ride.", not "ride"); or a star
 * alone, which matches all. A star anywhere else is no star. Upper and lower case differ.
 */
#ifndef MR_CORE_RIGHTS_H
#define MR_CORE_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/hash.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/sql/rows.h"

#define MR_PRINCIPALS_MAX 32767u /* numbers go from 1 to here; 0 is nobody */
#define MR_PRINCIPAL_KEYS_MAX 262144u
#define MR_PRINCIPAL_GRANTS_MAX 262144u
#define MR_KEY_CHARS 40u /* a public key in Z85 */
#define MR_RIGHTS_TEXT_BYTES 512

/* Peers without a key, by where they come from. These names are their User-Id, too. */
#define MR_PRINCIPAL_LOCAL "local"
#define MR_PRINCIPAL_ANYONE "anyone"

/* The same words in the table principal_grant, on the wire and in the command. */
enum mr_right {
    MR_RIGHT_SUBMIT,
    MR_RIGHT_RUN,
    MR_RIGHT_WATCH,
    MR_RIGHT_FETCH,
    MR_RIGHT_CANCEL,
    MR_RIGHT_OPERATE,
    MR_RIGHT_ADMINISTER,
};
#define MR_RIGHTS (MR_RIGHT_ADMINISTER + 1)

/* In order: the larger one includes the smaller. Of submit, run, operate and administer there
 * is no "own": granted is MR_SCOPE_ANY. */
enum mr_scope { MR_SCOPE_NO, MR_SCOPE_OWN, MR_SCOPE_ANY };

/* Over a whole set of queues and kinds: the same answer for each if both are equal. */
struct mr_scope_range {
    enum mr_scope least, most;
};

struct mr_rights;

/* `key`: random, of the table of User-Ids: they come from peers. */
enum mr_status mr_rights_new(
    struct mr_rights **out, struct mr_hash_key key) MR_MUST_CHECK;
void mr_rights_destroy(struct mr_rights **rights);

/* One row; principals before what names them. MR_BAD_ARGUMENT for one that cannot be (a number
 * out of range, an unknown role), MR_TOO_BIG beyond the bounds above, MR_NO_MEMORY. Then the
 * snapshot is of no use: granting less, or denying less, than was meant would both be wrong. */
enum mr_status mr_rights_add(
    struct mr_rights *rights, const struct mr_rights_row *row) MR_MUST_CHECK;
/* After the last row, before the first question. */
enum mr_status mr_rights_seal(struct mr_rights *rights) MR_MUST_CHECK;

/* The principal behind a User-Id: a public key, or the name of one of the two without a key. 0 if it
 * is unknown, or if the key or its principal is revoked: who asks is not told which. */
uint32_t mr_rights_who(const struct mr_rights *rights, struct mr_span user_id);

/* Its name, empty for a number that nobody has. */
struct mr_span mr_rights_name(const struct mr_rights *rights, uint32_t principal);
/* The number of a name, 0 if there is none. Linear in their number: for what is rare. */
uint32_t mr_rights_number(const struct mr_rights *rights, struct mr_span name);
bool mr_rights_is_revoked(const struct mr_rights *rights, uint32_t principal);
struct mr_quota mr_rights_quota(const struct mr_rights *rights, uint32_t principal);

/* The same for two snapshots if, as good as certainly, nothing of what is granted to or denied it
 * has changed, and whether it is revoked has not. */
uint64_t mr_rights_digest(const struct mr_rights *rights, uint32_t principal);

/* Keys that are good now (of principals that are), one after the other: *cursor begins with 0.
 * MR_KEY_CHARS characters, not terminated; false after the last. */
bool mr_rights_next_key(
    const struct mr_rights *rights, uint32_t *cursor, struct mr_span *key);

/* A principal that is revoked, or does not exist, may nothing. Linear in what is granted to and
 * denied this one; for most at once, without looking at a name: see mr_rights_over(). */
enum mr_scope mr_rights_may(const struct mr_rights *rights, uint32_t principal,
    enum mr_right right, struct mr_span queue, struct mr_span kind);

/* The same over all kinds (`kind` empty), over all queues (`queue` empty), or over both. `most` is
 * exact unless several denials cover a grant only together; `least` errs towards less, never
 * towards more. */
struct mr_scope_range mr_rights_over(const struct mr_rights *rights, uint32_t principal,
    enum mr_right right, struct mr_span queue, struct mr_span kind);

/* What is missing, in a sentence: "principal `app1` may not submit kind `pay.charge` to queue
 * `night`: it lacks the right `submit` there". An empty queue or kind is not named. */
const char *mr_rights_say(const struct mr_rights *rights, uint32_t principal,
    enum mr_right right, struct mr_span queue, struct mr_span kind,
    char out[MR_RIGHTS_TEXT_BYTES]);

const char *mr_right_name(enum mr_right right);

/* Does the pattern match that name? */
bool mr_rights_matches(struct mr_span pattern, struct mr_span name);

#endif
