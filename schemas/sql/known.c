#include "schemas/sql/known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/hash.h"

#define SLOTS (2 * MR_KNOWN_MAX)

struct mr_known {
    uint64_t
        seen[SLOTS]; /* hashes of texts that came once; newer ones take a place over */
    uint16_t slots[SLOTS]; /* number of the statement and 1, by hash; 0: free */
    struct mr_known_stmt stmts[MR_KNOWN_MAX];
    uint32_t count;
};

static struct mr_known_stmt *
add(struct mr_known *known, uint32_t slot, uint64_t hash, const char *sql)
{
    struct mr_known_stmt *stmt = &known->stmts[known->count];

    stmt->sql = strdup(sql);
    if (!stmt->sql)
        return NULL;
    stmt->hash = hash;
    stmt->state = MR_KNOWN_TO_PREPARE;
    (void)snprintf(stmt->name, sizeof stmt->name, "handler_%u", known->count);
    known->slots[slot] = (uint16_t)++known->count;
    return stmt;
}

struct mr_known_stmt *
mr_known_find(struct mr_known **known, const char *sql)
{
    /* Texts come from our own process: nobody chooses them to collide. */
    static const struct mr_hash_key key = {0, 0};
    size_t n = strlen(sql);
    uint64_t hash;
    uint32_t slot;

    if (n > MR_KNOWN_TEXT_MAX)
        return NULL;
    if (!*known)
        *known = calloc(1, sizeof **known);
    if (!*known)
        return NULL;
    hash = mr_hash(key, mr_span(sql, n));
    for (slot = hash % SLOTS; (*known)->slots[slot]; slot = (slot + 1) % SLOTS) {
        struct mr_known_stmt *stmt = &(*known)->stmts[(*known)->slots[slot] - 1];

        if (stmt->hash == hash && strcmp(stmt->sql, sql) == 0)
            return stmt;
    }
    if ((*known)->seen[hash % SLOTS] != hash || (*known)->count == MR_KNOWN_MAX) {
        (*known)->seen[hash % SLOTS] = hash;
        return NULL;
    }
    return add(*known, slot, hash, sql);
}

void
mr_known_free(struct mr_known **known)
{
    if (!*known)
        return;
    for (uint32_t i = 0; i < (*known)->count; i++)
        free((*known)->stmts[i].sql);
    free(*known);
    *known = NULL;
}
