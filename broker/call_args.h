/*
 * Arguments of the methods of CALL: one map, whose keys are on the page schemas/wire/README.md. Pure:
 * spans point into the message.
 */
#ifndef MR_BROKER_CALL_ARGS_H
#define MR_BROKER_CALL_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/sql/store.h"
#include "schemas/wire/msg.h"

#define MR_CALL_LIST_DEFAULT 50u

struct mr_call_args {
    struct mr_span queue, kind, state, reason, worker;
    struct mr_uuid id, before;
    struct mr_resealed resealed;
    bool has_id, has_before, has_as, with_redriven, with_history;
    int64_t since_us, until_us;
    uint32_t limit, id_count;
    struct mr_rd ids; /* stands before the first of id_count */
};

/* Nil is an empty map; what has an unknown name is passed over, what is nil was not given. */
enum mr_status mr_call_args_read(
    struct mr_rd *rd, struct mr_call_args *args) MR_MUST_CHECK;

/* An id: 16 bytes, or the text with hyphens. False for anything else. */
bool mr_call_args_id(struct mr_rd *rd, struct mr_uuid *id) MR_MUST_CHECK;

#endif
