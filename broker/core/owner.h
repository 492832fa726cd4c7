/*
 * Whose a job is: principals by name as small numbers, so that a job knows its owner in 14 bits
 * and nothing on the hot path compares names. A number lives as long as a job or a session
 * refers to it. 0 is nobody: a row without a submitter, or whose submitter's name cannot be a
 * principal's; only who may see any job sees it.
 */
#ifndef MR_CORE_OWNER_H
#define MR_CORE_OWNER_H

#include "broker/core/core_priv.h"

/* The number of a principal, or 0 for what is no principal's name. MR_LIMIT: owners_max are in
 * use. Refer to it at once: what nobody refers to makes room for others. */
enum mr_status mr_owner_number(
    struct mr_core *core, struct mr_span principal, uint16_t *number) MR_MUST_CHECK;

/* The owner of what a session of that principal submits; the principal 0 is `local`, as is every
 * one before there are rights. MR_BAD_ARGUMENT: there is no such principal. MR_BUSY: no room. */
enum mr_status mr_owner_of_principal(
    struct mr_core *core, uint32_t principal, uint16_t *number) MR_MUST_CHECK;

/* Which of those that are in use; 0: none of them. */
uint16_t mr_owner_find(struct mr_core *core, struct mr_span principal);

struct mr_span mr_owner_name(const struct mr_core *core, uint16_t number);

/* A job gets its owner, and leaves it. */
void mr_owner_takes(struct mr_core *core, uint32_t slot, uint16_t number);
void mr_owner_lets_go(struct mr_core *core, uint32_t slot);

/* Its payload has another size than was known. */
void mr_owner_resized(
    struct mr_core *core, const struct mr_job *job, uint32_t was, uint32_t is);

/* A session begins and ends. */
void mr_owner_joins(struct mr_core *core, struct mr_peer *peer, uint16_t number);
void mr_owner_leaves(struct mr_core *core, const struct mr_peer *peer);

/* Is the answer to the right another one for other queues or kinds? */
bool mr_owner_is_uneven(const struct mr_core *core, uint32_t peer, enum mr_right right);
/* `scope`, or, if it is uneven and there is a job in that slot, the scope of that one. */
enum mr_scope mr_owner_scope(const struct mr_core *core, uint32_t peer, uint32_t slot,
    enum mr_right right, enum mr_scope scope);

/* Is there room for one more session? Counts the refusal. */
bool mr_owner_has_session(struct mr_core *core, uint32_t principal, uint16_t number);

/* There are other rights: what those with a session may use. */
void mr_owner_limit_all(struct mr_core *core);

/* May this peer be told of the job in that slot? 0, no job: nothing is hidden. */
bool mr_owner_may_see(
    const struct mr_core *core, uint32_t peer, uint32_t slot, enum mr_scope scope);

#endif
