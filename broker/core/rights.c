#include "broker/core/rights.h"

#include "schemas/base/arena.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_BYTES_MAX (64u * 1024 * 1024)

/* ---- words ------------------------------------------------------------------------------------- */

static const char *const right_names[MR_RIGHTS] = {
    [MR_RIGHT_SUBMIT] = "submit",
    [MR_RIGHT_RUN] = "run",
    [MR_RIGHT_WATCH] = "watch",
    [MR_RIGHT_FETCH] = "fetch",
    [MR_RIGHT_CANCEL] = "cancel",
    [MR_RIGHT_OPERATE] = "operate",
    [MR_RIGHT_ADMINISTER] = "administer",
};

/* What a role is short for. */
static const struct {
    const char *name;
    enum mr_scope scopes[MR_RIGHTS];
} roles[] = {
    {"front-end", {[MR_RIGHT_SUBMIT] = MR_SCOPE_ANY,
                      [MR_RIGHT_WATCH] = MR_SCOPE_OWN,
                      [MR_RIGHT_FETCH] = MR_SCOPE_OWN,
                      [MR_RIGHT_CANCEL] = MR_SCOPE_OWN}},
    {"worker", {[MR_RIGHT_RUN] = MR_SCOPE_ANY}},
    {"operator", {[MR_RIGHT_WATCH] = MR_SCOPE_ANY,
                     [MR_RIGHT_FETCH] = MR_SCOPE_ANY,
                     [MR_RIGHT_CANCEL] = MR_SCOPE_ANY,
                     [MR_RIGHT_OPERATE] = MR_SCOPE_ANY}},
    {"auditor", {[MR_RIGHT_WATCH] = MR_SCOPE_ANY, [MR_RIGHT_FETCH] = MR_SCOPE_ANY}},
    {"administrator", {[MR_RIGHT_ADMINISTER] = MR_SCOPE_ANY}},
};

const char *
mr_right_name(enum mr_right right)
{
    return right_names[right];
}

/* ---- the snapshot ------------------------------------------------------------------------------- */

struct pattern {
    struct mr_span text; /* without its star */
    bool has_star;
};

struct grant {
    uint32_t principal;
    bool is_denied;
    uint8_t scopes[MR_RIGHTS]; /* of a denial: MR_SCOPE_ANY is all of the action */
    struct pattern queue, kind;
};

struct principal {
    struct mr_span name;
    bool is_revoked;
    struct mr_quota quota;
    uint32_t first, count; /* of its grants */
    struct mr_scope_range over_all[MR_RIGHTS];
    uint64_t digest;
};

struct key {
    struct mr_span text;
    uint32_t principal;
    bool is_revoked;
};

struct mr_rights {
    struct mr_arena *texts;
    struct principal *principals; /* by number */
    uint32_t principals_end, principals_room;
    struct key *keys;
    uint32_t key_count, keys_room;
    uint32_t *table; /* open addressing, keys by number + 1 */
    uint32_t mask;
    struct grant *grants; /* sealed: by principal */
    uint32_t grant_count, grants_room;
    struct mr_hash_key hash_key;
};

enum mr_status
mr_rights_new(struct mr_rights **out, struct mr_hash_key key)
{
    struct mr_rights *rights = calloc(1, sizeof *rights);

    *out = NULL;
    if (!rights)
        return MR_NO_MEMORY;
    rights->hash_key = key;
    if (mr_arena_new(&rights->texts, TEXT_BYTES_MAX)) {
        free(rights);
        return MR_NO_MEMORY;
    }
    *out = rights;
    return MR_OK;
}

void
mr_rights_destroy(struct mr_rights **rights)
{
    if (!*rights)
        return;
    mr_arena_destroy(&(*rights)->texts);
    free((*rights)->principals);
    free((*rights)->keys);
    free((*rights)->table);
    free((*rights)->grants);
    free(*rights);
    *rights = NULL;
}

/* Room for number `need - 1`; what is new is zero. */
static enum mr_status
grow(void **array, uint32_t *room, uint32_t need, uint32_t max, size_t each)
{
    uint32_t wanted = *room ? *room : 16;
    uint8_t *larger;

    if (need > max)
        return MR_TOO_BIG;
    if (need <= *room)
        return MR_OK;
    while (wanted < need)
        wanted *= 2;
    larger = realloc(*array, wanted * each);
    if (!larger)
        return MR_NO_MEMORY;
    memset(larger + *room * each, 0, (wanted - *room) * each);
    *array = larger;
    *room = wanted;
    return MR_OK;
}

static enum mr_status
add_key(
    struct mr_rights *rights, struct mr_span text, uint32_t principal, bool is_revoked)
{
    enum mr_status status = grow((void **)&rights->keys, &rights->keys_room,
        rights->key_count + 1, MR_PRINCIPAL_KEYS_MAX, sizeof *rights->keys);
    struct key *key;

    if (status)
        return status;
    key = &rights->keys[rights->key_count++];
    *key = (struct key){.principal = principal, .is_revoked = is_revoked};
    return mr_arena_copy(rights->texts, text, &key->text) ? MR_OK : MR_NO_MEMORY;
}

static enum mr_status
add_principal(struct mr_rights *rights, const struct mr_rights_row *row)
{
    struct principal *principal;
    enum mr_status status = grow((void **)&rights->principals, &rights->principals_room,
        row->principal + 1, MR_PRINCIPALS_MAX + 1, sizeof *rights->principals);

    if (status)
        return status;
    principal = &rights->principals[row->principal];
    if (principal->name.n || !row->text.n)
        return MR_BAD_ARGUMENT;
    *principal = (struct principal){.is_revoked = row->is_revoked, .quota = row->quota};
    if (!mr_arena_copy(rights->texts, row->text, &principal->name))
        return MR_NO_MEMORY;
    if (row->principal >= rights->principals_end)
        rights->principals_end = row->principal + 1;
    if (mr_span_is(row->text, MR_PRINCIPAL_LOCAL) ||
        mr_span_is(row->text, MR_PRINCIPAL_ANYONE))
        return add_key(rights, row->text, row->principal, false);
    return MR_OK;
}

static bool
read_word(struct mr_span word, bool is_any, uint8_t scopes[MR_RIGHTS])
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!mr_span_is(word, roles[i].name))
            continue;
        for (size_t k = 0; k < MR_RIGHTS; k++)
            scopes[k] = (uint8_t)roles[i].scopes[k];
        return true;
    }
    for (size_t i = 0; i < MR_RIGHTS; i++) {
        bool is_scoped =
            i == MR_RIGHT_WATCH || i == MR_RIGHT_FETCH || i == MR_RIGHT_CANCEL;

        if (!mr_span_is(word, right_names[i]))
            continue;
        scopes[i] = is_scoped && !is_any ? MR_SCOPE_OWN : MR_SCOPE_ANY;
        return true;
    }
    return false;
}

static enum mr_status
add_pattern(struct mr_rights *rights, struct mr_span text, struct pattern *out)
{
    if (text.n == 0)
        return MR_BAD_ARGUMENT;
    out->has_star = text.p[text.n - 1] == '*';
    return mr_arena_copy(
               rights->texts, mr_span(text.p, text.n - out->has_star), &out->text)
               ? MR_OK
               : MR_NO_MEMORY;
}

static enum mr_status
add_grant(struct mr_rights *rights, const struct mr_rights_row *row)
{
    struct grant *grant;
    enum mr_status status = grow((void **)&rights->grants, &rights->grants_room,
        rights->grant_count + 1, MR_PRINCIPAL_GRANTS_MAX, sizeof *rights->grants);

    if (status)
        return status;
    grant = &rights->grants[rights->grant_count];
    *grant = (struct grant){.principal = row->principal, .is_denied = row->is_denied};
    if (!read_word(row->text, row->is_any, grant->scopes))
        return MR_BAD_ARGUMENT;
    status = add_pattern(rights, row->queue, &grant->queue);
    if (status == MR_OK)
        status = add_pattern(rights, row->kind, &grant->kind);
    if (status == MR_OK)
        rights->grant_count++;
    return status;
}

static bool
is_principal(const struct mr_rights *rights, uint32_t number)
{
    return number > 0 && number < rights->principals_end &&
           rights->principals[number].name.n > 0;
}

enum mr_status
mr_rights_add(struct mr_rights *rights, const struct mr_rights_row *row)
{
    if (row->principal == 0 || row->principal > MR_PRINCIPALS_MAX)
        return MR_BAD_ARGUMENT;
    if (row->type == MR_ROW_PRINCIPAL)
        return add_principal(rights, row);
    if (!is_principal(rights, row->principal))
        return MR_BAD_ARGUMENT;
    if (row->type == MR_ROW_GRANT)
        return add_grant(rights, row);
    if (row->text.n != MR_KEY_CHARS)
        return MR_BAD_ARGUMENT;
    return add_key(rights, row->text, row->principal, row->is_revoked);
}

/* ---- patterns ------------------------------------------------------------------------------------- */

static bool
begins_with(struct mr_span text, struct mr_span beginning)
{
    return text.n >= beginning.n && mr_span_eq(mr_span(text.p, beginning.n), beginning);
}

static bool
matches(const struct pattern *pattern, struct mr_span name)
{
    return pattern->has_star ? begins_with(name, pattern->text)
                             : mr_span_eq(pattern->text, name);
}

bool
mr_rights_matches(struct mr_span pattern, struct mr_span name)
{
    bool has_star = pattern.n > 0 && pattern.p[pattern.n - 1] == '*';

    return matches(
        &(struct pattern){mr_span(pattern.p, pattern.n - has_star), has_star}, name);
}

/* A name, or, if it is empty, all names: does the pattern match all of that, and any of it? */
static bool
matches_all(const struct pattern *pattern, struct mr_span name)
{
    return name.n ? matches(pattern, name) : pattern->has_star && pattern->text.n == 0;
}

static bool
matches_any(const struct pattern *pattern, struct mr_span name)
{
    return name.n == 0 || matches(pattern, name);
}

/* Whatever the second one matches the first does, too. */
static bool
covers(const struct pattern *a, const struct pattern *b)
{
    return a->has_star ? begins_with(b->text, a->text)
                       : !b->has_star && mr_span_eq(a->text, b->text);
}

/* ---- the decision ---------------------------------------------------------------------------------- */

enum mr_scope
mr_rights_may(const struct mr_rights *rights, uint32_t number, enum mr_right right,
    struct mr_span queue, struct mr_span kind)
{
    enum mr_scope scope = MR_SCOPE_NO;
    const struct principal *principal;

    if (!is_principal(rights, number) || rights->principals[number].is_revoked)
        return MR_SCOPE_NO;
    principal = &rights->principals[number];
    if (principal->over_all[right].least == principal->over_all[right].most)
        return principal->over_all[right].least;
    for (uint32_t i = 0; i < principal->count; i++) {
        const struct grant *grant = &rights->grants[principal->first + i];

        if (!grant->scopes[right] || !matches(&grant->queue, queue) ||
            !matches(&grant->kind, kind))
            continue;
        if (grant->is_denied)
            return MR_SCOPE_NO;
        if (grant->scopes[right] > scope)
            scope = (enum mr_scope)grant->scopes[right];
    }
    return scope;
}

/* Does one denial take away all that this grant gives within the queue and kind? */
static bool
is_denied_whole(const struct mr_rights *rights, const struct principal *principal,
    const struct grant *grant, enum mr_right right, struct mr_span queue,
    struct mr_span kind)
{
    for (uint32_t i = 0; i < principal->count; i++) {
        const struct grant *other = &rights->grants[principal->first + i];

        if (other->is_denied && other->scopes[right] &&
            (queue.n ? matches(&other->queue, queue)
                     : covers(&other->queue, &grant->queue)) &&
            (kind.n ? matches(&other->kind, kind) : covers(&other->kind, &grant->kind)))
            return true;
    }
    return false;
}

static struct mr_scope_range
look_over(const struct mr_rights *rights, const struct principal *principal,
    enum mr_right right, struct mr_span queue, struct mr_span kind)
{
    struct mr_scope_range range = {MR_SCOPE_NO, MR_SCOPE_NO};
    bool is_denied = false;

    for (uint32_t i = 0; i < principal->count; i++) {
        const struct grant *grant = &rights->grants[principal->first + i];
        enum mr_scope scope = (enum mr_scope)grant->scopes[right];

        if (!scope || !matches_any(&grant->queue, queue) ||
            !matches_any(&grant->kind, kind))
            continue;
        is_denied = is_denied || grant->is_denied;
        if (grant->is_denied)
            continue;
        if (scope > range.least && matches_all(&grant->queue, queue) &&
            matches_all(&grant->kind, kind))
            range.least = scope;
        if (scope > range.most &&
            !is_denied_whole(rights, principal, grant, right, queue, kind))
            range.most = scope;
    }
    if (is_denied)
        range.least = MR_SCOPE_NO;
    return range;
}

struct mr_scope_range
mr_rights_over(const struct mr_rights *rights, uint32_t number, enum mr_right right,
    struct mr_span queue, struct mr_span kind)
{
    const struct mr_scope_range none = {MR_SCOPE_NO, MR_SCOPE_NO};
    const struct principal *principal;

    if (!is_principal(rights, number) || rights->principals[number].is_revoked)
        return none;
    principal = &rights->principals[number];
    if ((!queue.n && !kind.n) ||
        principal->over_all[right].least == principal->over_all[right].most)
        return principal->over_all[right];
    return look_over(rights, principal, right, queue, kind);
}

/* ---- sealing ------------------------------------------------------------------------------------------ */

static int
compare_grants(const void *a, const void *b)
{
    uint32_t x = ((const struct grant *)a)->principal;
    uint32_t y = ((const struct grant *)b)->principal;

    return x < y ? -1 : x > y;
}

static uint32_t
place_of(const struct mr_rights *rights, struct mr_span user_id)
{
    uint32_t i = (uint32_t)mr_hash(rights->hash_key, user_id) & rights->mask;

    while (
        rights->table[i] && !mr_span_eq(rights->keys[rights->table[i] - 1].text, user_id))
        i = (i + 1) & rights->mask;
    return i;
}

static enum mr_status
index_keys(struct mr_rights *rights)
{
    uint32_t entries = 16;

    while (entries < rights->key_count * 2)
        entries *= 2;
    rights->table = calloc(entries, sizeof *rights->table);
    if (!rights->table)
        return MR_NO_MEMORY;
    rights->mask = entries - 1;
    for (uint32_t i = 0; i < rights->key_count; i++) {
        uint32_t place = place_of(rights, rights->keys[i].text);

        if (rights->table[place])
            return MR_BAD_ARGUMENT; /* one key, two principals */
        rights->table[place] = i + 1;
    }
    return MR_OK;
}

/* Of one grant; the sum over a principal's does not depend on their order. */
static uint64_t
digest_of(const struct grant *grant)
{
    static const struct mr_hash_key fixed = {0x6d725f67, 0x72616e74};
    uint8_t flags[] = {grant->is_denied, grant->queue.has_star, grant->kind.has_star};
    uint64_t queue = mr_hash(fixed, grant->queue.text);
    uint64_t kind = mr_hash(fixed, grant->kind.text);
    uint8_t all[sizeof flags + sizeof grant->scopes + sizeof queue + sizeof kind];

    memcpy(all, flags, sizeof flags);
    memcpy(all + sizeof flags, grant->scopes, sizeof grant->scopes);
    memcpy(all + sizeof flags + sizeof grant->scopes, &queue, sizeof queue);
    memcpy(all + sizeof all - sizeof kind, &kind, sizeof kind);
    return mr_hash(fixed, mr_span(all, sizeof all));
}

enum mr_status
mr_rights_seal(struct mr_rights *rights)
{
    if (rights->grant_count)
        qsort(
            rights->grants, rights->grant_count, sizeof *rights->grants, compare_grants);
    for (uint32_t i = 0; i < rights->grant_count; i++) {
        struct principal *principal = &rights->principals[rights->grants[i].principal];

        if (principal->count++ == 0)
            principal->first = i;
        principal->digest += digest_of(&rights->grants[i]);
    }
    for (uint32_t n = 1; n < rights->principals_end; n++) {
        struct principal *principal = &rights->principals[n];

        for (size_t right = 0; right < MR_RIGHTS; right++)
            principal->over_all[right] = look_over(
                rights, principal, (enum mr_right)right, MR_SPAN_NONE, MR_SPAN_NONE);
    }
    return index_keys(rights);
}

/* ---- who --------------------------------------------------------------------------------------------- */

uint32_t
mr_rights_who(const struct mr_rights *rights, struct mr_span user_id)
{
    uint32_t found = user_id.n ? rights->table[place_of(rights, user_id)] : 0;
    const struct key *key = found ? &rights->keys[found - 1] : NULL;

    if (!key || key->is_revoked || rights->principals[key->principal].is_revoked)
        return 0;
    return key->principal;
}

struct mr_span
mr_rights_name(const struct mr_rights *rights, uint32_t number)
{
    return is_principal(rights, number) ? rights->principals[number].name : MR_SPAN_NONE;
}

uint32_t
mr_rights_number(const struct mr_rights *rights, struct mr_span name)
{
    for (uint32_t i = 1; name.n && i < rights->principals_end; i++) {
        if (mr_span_eq(rights->principals[i].name, name))
            return i;
    }
    return 0;
}

bool
mr_rights_is_revoked(const struct mr_rights *rights, uint32_t number)
{
    return !is_principal(rights, number) || rights->principals[number].is_revoked;
}

struct mr_quota
mr_rights_quota(const struct mr_rights *rights, uint32_t number)
{
    return is_principal(rights, number) ? rights->principals[number].quota
                                        : (struct mr_quota){0};
}

uint64_t
mr_rights_digest(const struct mr_rights *rights, uint32_t number)
{
    return mr_rights_is_revoked(rights, number) ? 0
                                                : rights->principals[number].digest + 1;
}

bool
mr_rights_next_key(const struct mr_rights *rights, uint32_t *cursor, struct mr_span *key)
{
    while (*cursor < rights->key_count) {
        const struct key *at = &rights->keys[(*cursor)++];

        if (at->text.n == MR_KEY_CHARS && mr_rights_who(rights, at->text)) {
            *key = at->text;
            return true;
        }
    }
    return false;
}

/* ---- saying -------------------------------------------------------------------------------------------- */

/* Before the name of the kind and that of the queue. */
static const struct {
    const char *verb, *kind, *queue;
} phrases[MR_RIGHTS] = {
    [MR_RIGHT_SUBMIT] = {"submit", "kind", "to queue"},
    [MR_RIGHT_RUN] = {"run", "kind", "of queue"},
    [MR_RIGHT_WATCH] = {"watch jobs", "of kind", "of queue"},
    [MR_RIGHT_FETCH] = {"see jobs", "of kind", "of queue"},
    [MR_RIGHT_CANCEL] = {"cancel jobs", "of kind", "of queue"},
    [MR_RIGHT_OPERATE] = {"operate", "kind", "queue"},
    [MR_RIGHT_ADMINISTER] = {"administer", "kind", "queue"},
};

static void
add_name(char *out, const char *before, struct mr_span name)
{
    size_t n = strlen(out);

    if (name.n)
        (void)snprintf(out + n, MR_RIGHTS_TEXT_BYTES - n, " %s `%.*s`", before,
            (int)(name.n < MR_NAME_BYTES_MAX ? name.n : MR_NAME_BYTES_MAX),
            (const char *)name.p);
}

static bool
is_denied_there(const struct mr_rights *rights, uint32_t number, enum mr_right right,
    struct mr_span queue, struct mr_span kind)
{
    const struct principal *principal = &rights->principals[number];

    for (uint32_t i = 0; i < principal->count; i++) {
        const struct grant *grant = &rights->grants[principal->first + i];

        if (grant->is_denied && grant->scopes[right] &&
            matches_any(&grant->queue, queue) && matches_any(&grant->kind, kind))
            return true;
    }
    return false;
}

const char *
mr_rights_say(const struct mr_rights *rights, uint32_t number, enum mr_right right,
    struct mr_span queue, struct mr_span kind, char out[MR_RIGHTS_TEXT_BYTES])
{
    struct mr_span name = mr_rights_name(rights, number);
    const char *there = queue.n || kind.n ? " there" : "";
    size_t n;

    if (!name.n || mr_rights_is_revoked(rights, number)) {
        (void)snprintf(out, MR_RIGHTS_TEXT_BYTES,
            "this key opens nothing (any more): ask an administrator for `millrace "
            "principal add`");
        return out;
    }
    (void)snprintf(out, MR_RIGHTS_TEXT_BYTES, "principal `%.*s` may not %s", (int)name.n,
        (const char *)name.p, phrases[right].verb);
    add_name(out, phrases[right].kind, kind);
    add_name(out, phrases[right].queue, queue);
    n = strlen(out);
    if (is_denied_there(rights, number, right, queue, kind))
        (void)snprintf(out + n, MR_RIGHTS_TEXT_BYTES - n,
            ": the right `%s` is denied to it%s", right_names[right], there);
    else
        (void)snprintf(out + n, MR_RIGHTS_TEXT_BYTES - n, ": it lacks the right `%s`%s",
            right_names[right], there);
    return out;
}
