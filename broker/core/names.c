#include "broker/core/names.h"

#include <stdlib.h>

enum mr_status
mr_names_init(struct mr_names *names, uint32_t max, struct mr_hash_key key)
{
    size_t entries = 16;

    while (entries < (size_t)max * 2)
        entries *= 2;
    *names = (struct mr_names){.max = max, .mask = (uint32_t)(entries - 1), .key = key};
    names->names = calloc((size_t)max + 1, sizeof *names->names);
    names->table = calloc(entries, sizeof *names->table);
    return names->names && names->table ? MR_OK : MR_NO_MEMORY;
}

void
mr_names_fini(struct mr_names *names)
{
    free(names->names);
    free(names->table);
    *names = (struct mr_names){0};
}

bool
mr_names_is_good(struct mr_span name)
{
    if (name.n == 0 || name.n > MR_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= ' ' || name.p[i] == 0x7f)
            return false;
    }
    return true;
}

struct mr_span
mr_names_text(const struct mr_names *names, uint16_t number)
{
    return mr_span(names->names[number].text, names->names[number].bytes);
}

/* Where the name stands or would stand. */
static uint32_t
place_of(const struct mr_names *names, struct mr_span name)
{
    uint32_t i = (uint32_t)mr_hash(names->key, name) & names->mask;

    while (names->table[i] && !mr_span_eq(mr_names_text(names, names->table[i]), name))
        i = (i + 1) & names->mask;
    return i;
}

uint16_t
mr_names_find(struct mr_names *names, struct mr_span name)
{
    uint16_t number = names->last;

    if (number && mr_span_eq(mr_names_text(names, number), name))
        return number;
    number = names->table[place_of(names, name)];
    if (number)
        names->last = number;
    return number;
}

static void
rebuild(struct mr_names *names)
{
    memset(names->table, 0, (names->mask + 1) * sizeof *names->table);
    for (uint32_t i = 1; i <= names->fresh; i++) {
        if (names->names[i].bytes)
            names->table[place_of(names, mr_names_text(names, (uint16_t)i))] =
                (uint16_t)i;
    }
}

static uint16_t
recycle(struct mr_names *names)
{
    for (uint32_t i = 1; i <= names->max; i++) {
        if (names->names[i].refs || names->names[i].is_pinned)
            continue;
        names->names[i] = (struct mr_name){0};
        names->last = 0;
        names->count--;
        rebuild(names);
        return (uint16_t)i;
    }
    return 0;
}

uint16_t
mr_names_intern(struct mr_names *names, struct mr_span name, bool *is_new)
{
    uint16_t number = mr_names_find(names, name);

    *is_new = false;
    if (number)
        return number;
    number = names->fresh < names->max ? (uint16_t)++names->fresh : recycle(names);
    if (!number)
        return 0;
    memcpy(names->names[number].text, name.p, name.n);
    names->names[number].bytes = (uint8_t)name.n;
    names->table[place_of(names, name)] = number;
    names->count++;
    *is_new = true;
    return number;
}
