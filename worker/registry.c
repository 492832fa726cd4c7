#include "worker/registry.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"
#include "schemas/wire/limits.h"
#include "worker/canceller.h"

#define OBJECTS_MAX 64
#define WHY_BYTES 512

struct entry {
    const struct millrace_kind *kind;
    const char *origin;
    bool is_prepared;
};

struct mr_registry {
    struct entry entries[MR_KINDS_PER_WORKER_MAX]; /* in the order of their names */
    uint32_t count;
    void *objects[OBJECTS_MAX];
    char *paths[OBJECTS_MAX];
    uint32_t object_count;
};

enum mr_status
mr_registry_new(struct mr_registry **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? MR_OK : MR_NO_MEMORY;
}

void
mr_registry_destroy(struct mr_registry **registry)
{
    struct mr_registry *gone = *registry;

    if (!gone)
        return;
    for (uint32_t i = gone->count; i-- > 0;)
        if (gone->entries[i].is_prepared && gone->entries[i].kind->dispose)
            gone->entries[i].kind->dispose();
    for (uint32_t i = gone->object_count; i-- > 0;) {
        (void)dlclose(gone->objects[i]);
        free(gone->paths[i]);
    }
    free(gone);
    *registry = NULL;
}

static int
compare(struct mr_span a, struct mr_span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Index of the name, or where it belongs. */
static uint32_t
place_of(const struct mr_registry *registry, struct mr_span name, bool *is_there)
{
    uint32_t low = 0, high = registry->count;

    *is_there = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(mr_span_str(registry->entries[middle].kind->name), name);

        if (order == 0) {
            *is_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct millrace_kind *
mr_registry_find(const struct mr_registry *registry, struct mr_span name, uint32_t *index)
{
    bool is_there;
    uint32_t at = place_of(registry, name, &is_there);

    if (!is_there)
        return NULL;
    if (index)
        *index = at;
    return registry->entries[at].kind;
}

static bool
is_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;

    for (size_t i = 0; i < n; i++)
        if (name[i] < '!' || name[i] > '~')
            return false;
    return n >= 1 && n <= MR_NAME_BYTES_MAX;
}

static bool
has_bad_group(const struct millrace_kind *kind)
{
    return kind->group_max > 1 &&
           (kind->group_max > MR_GROUP_MAX || !kind->is_transactional ||
               kind->is_isolated || kind->running_max);
}

static enum mr_status
add_one(struct mr_registry *registry, const struct millrace_kind *kind,
    const char *origin, struct mr_err *err)
{
    bool is_there;
    uint32_t at;

    if (!is_name(kind->name))
        return mr_err_setf(err, MR_BAD_SETTING, "A job kind was refused.",
            "Name it area.verb, 1 to 64 printable characters without spaces.",
            "%s: \"%.80s\" is not a name.", origin, kind->name ? kind->name : "");
    if (!kind->run)
        return mr_err_setf(err, MR_BAD_SETTING, "A job kind was refused.",
            "Set .run in its struct millrace_kind.", "%s: %s has no handler.", origin,
            kind->name);
    if (!mr_backoff_is_good(kind->backoff_factor_percent, kind->backoff_jitter_percent))
        return mr_err_setf(err, MR_BAD_SETTING, "A job kind was refused.",
            "Give a factor of 100 to 1000 and a jitter of 1 to 100, "
            "MILLRACE_NO_JITTER, or 0 for the default.",
            "%s: %s has a backoff factor of %u percent and a jitter of %u.", origin,
            kind->name, kind->backoff_factor_percent, kind->backoff_jitter_percent);
    if (has_bad_group(kind))
        return mr_err_setf(err, MR_BAD_SETTING, "A job kind was refused.",
            "Let at most 256 jobs share a transaction, of a transactional kind that is "
            "not "
            "isolated and has no running_max; or leave .group_max out.",
            "%s: %s has a group_max of %u.", origin, kind->name, kind->group_max);
    at = place_of(registry, mr_span_str(kind->name), &is_there);
    if (is_there)
        return mr_err_setf(err, MR_BAD_SETTING, "A job kind was refused.",
            "Give it another name, or leave one of the two out.",
            "%s: %s is there already (%s).", origin, kind->name,
            registry->entries[at].origin);
    if (registry->count == MR_KINDS_PER_WORKER_MAX)
        return mr_err_setf(err, MR_BAD_SETTING, "A job kind was refused.",
            "Start a second worker for the rest.",
            "%s: %s would be one more than the %u kinds that one worker may offer.",
            origin, kind->name, MR_KINDS_PER_WORKER_MAX);
    memmove(&registry->entries[at + 1], &registry->entries[at],
        (registry->count - at) * sizeof registry->entries[0]);
    registry->entries[at] = (struct entry){.kind = kind, .origin = origin};
    registry->count++;
    return MR_OK;
}

enum mr_status
mr_registry_add(struct mr_registry *registry, const struct millrace_kind *const *kinds,
    const char *origin, struct mr_err *err)
{
    for (; *kinds; kinds++) {
        enum mr_status status = add_one(registry, *kinds, origin, err);

        if (status)
            return status;
    }
    return MR_OK;
}

static enum mr_status
refuse_object(const char *path, const char *why, const char *todo, struct mr_err *err)
{
    return mr_err_setf(err, MR_BAD_SETTING, "A file of job kinds could not be loaded.",
        todo, "%s: %s", path, why);
}

/* Looks the two symbols up; `object` stays open whatever comes of it. */
static enum mr_status
add_object(
    struct mr_registry *registry, void *object, const char *path, struct mr_err *err)
{
    const int *api = dlsym(object, "millrace_kinds_api");
    const struct millrace_kind *const *kinds = dlsym(object, "millrace_kinds");
    char why[128];

    if (!api || !kinds)
        return refuse_object(path,
            "it does not export millrace_kinds and "
            "millrace_kinds_api.",
            "Define both as millrace_worker.h says.", err);
    if (*api != MILLRACE_KINDS_API) {
        (void)snprintf(why, sizeof why,
            "it was built for version %d of the API, this worker has version %d.", *api,
            MILLRACE_KINDS_API);
        return refuse_object(
            path, why, "Build it again with this worker's millrace_worker.h.", err);
    }
    return mr_registry_add(registry, kinds, path, err);
}

enum mr_status
mr_registry_load(struct mr_registry *registry, const char *path, struct mr_err *err)
{
    void *object;
    char *copy;

    if (registry->object_count == OBJECTS_MAX)
        return refuse_object(
            path, "too many files.", "Link several kinds into one.", err);
    /* Without a slash the dynamic linker would look in its own folders only. */
    if (!strchr(path, '/'))
        return refuse_object(
            path, "the name has no slash.", "Give a path, such as ./mine.so.", err);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return refuse_object(
            path, dlerror(), "Build it with: cc -shared -fPIC -o mine.so mine.c", err);
    copy = strdup(path);
    if (!copy) {
        (void)dlclose(object);
        return mr_err_set(err, MR_NO_MEMORY, "There is no memory.", NULL, NULL);
    }
    registry->objects[registry->object_count] = object;
    registry->paths[registry->object_count++] = copy;
    return add_object(registry, object, copy, err);
}

void
mr_registry_keep(struct mr_registry *registry,
    bool (*is_wanted)(const char *setting, const struct millrace_kind *kind),
    const char *setting)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < registry->count; i++)
        if (is_wanted(setting, registry->entries[i].kind))
            registry->entries[kept++] = registry->entries[i];
    registry->count = kept;
}

void
mr_registry_prepare(struct mr_registry *registry, const struct millrace_host *host)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < registry->count; i++) {
        struct entry entry = registry->entries[i];
        char why[WHY_BYTES] = "";

        if (entry.kind->prepare && !entry.kind->prepare(host, why, sizeof why)) {
            mr_log(MR_LOG_WARN, "kind_off", "kind=%s why=\"%s\"", entry.kind->name, why);
            continue;
        }
        entry.is_prepared = true;
        registry->entries[kept++] = entry;
    }
    registry->count = kept;
}

uint32_t
mr_registry_count(const struct mr_registry *registry)
{
    return registry->count;
}

const struct millrace_kind *
mr_registry_at(const struct mr_registry *registry, uint32_t index)
{
    MR_ASSERT(index < registry->count);
    return registry->entries[index].kind;
}

_Static_assert(MILLRACE_NO_JITTER == MR_JITTER_NONE, "one number for it");

void
mr_registry_offers(const struct mr_registry *registry, struct mr_offer *offers)
{
    for (uint32_t i = 0; i < registry->count; i++) {
        const struct millrace_kind *kind = registry->entries[i].kind;

        offers[i] = (struct mr_offer){.kind = mr_span_str(kind->name),
            .running_max = kind->running_max,
            .timeout_ms = kind->timeout_ms,
            .attempts_max = kind->attempts_max,
            .backoff_base_ms = kind->backoff_base_ms,
            .backoff_cap_ms = kind->backoff_cap_ms,
            .backoff_factor_percent = kind->backoff_factor_percent,
            .backoff_jitter = kind->backoff_jitter_percent, /* the same numbers */
            .is_transactional = kind->is_transactional};
    }
}
