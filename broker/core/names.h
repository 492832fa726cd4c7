/*
 * Names of queues and kinds as small numbers, so that nothing on the hot path compares
 * strings. Numbered from 1; names that nobody uses make room when the table is full. Pure;
 * one thread.
 */
#ifndef MR_CORE_NAMES_H
#define MR_CORE_NAMES_H

#include <stdbool.h>

#include "schemas/base/hash.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/limits.h"

struct mr_name {
    char text[MR_NAME_BYTES_MAX];
    uint8_t bytes;  /* 0: the number is free */
    bool is_pinned; /* stays although nothing refers to it */
    uint32_t refs;  /* jobs and offers */
};

struct mr_names {
    struct mr_name *names; /* [max + 1] */
    uint16_t *table;       /* open addressing, names by number */
    uint32_t mask, max, count, fresh;
    uint16_t last; /* that was found: a message names the same one again and again */
    struct mr_hash_key key;
};

/* `max` at most 16384. */
enum mr_status mr_names_init(
    struct mr_names *names, uint32_t max, struct mr_hash_key key) MR_MUST_CHECK;
void mr_names_fini(struct mr_names *names);

/* 1 to 64 bytes, no blanks, no control characters. */
bool mr_names_is_good(struct mr_span name);

uint16_t mr_names_find(struct mr_names *names, struct mr_span name); /* 0: no */

/* Find or add; 0 when the table is full of names that are in use. *is_new: the number may have
 * been another name's before, so what is kept beside it has to be reset. */
uint16_t mr_names_intern(struct mr_names *names, struct mr_span name, bool *is_new);

struct mr_span mr_names_text(const struct mr_names *names, uint16_t number);

#endif
