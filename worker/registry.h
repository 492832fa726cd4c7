/*
 * The kinds that this process offers: built in or loaded. Filled by the main thread before
 * others start, read-only afterwards.
 */
#ifndef MR_WORKER_REGISTRY_H
#define MR_WORKER_REGISTRY_H

#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/msg.h"
#include "worker/millrace_worker.h"

struct mr_registry;

enum mr_status mr_registry_new(struct mr_registry **out) MR_MUST_CHECK;
/* Calls `dispose` of the prepared kinds, newest first, and closes what was loaded. */
void mr_registry_destroy(struct mr_registry **registry);

/* All of a NULL-ended table. `origin` names it in errors. MR_BAD_SETTING: a name that is not
 * one, no handler, a kind that is there already, more than MR_KINDS_PER_WORKER_MAX. */
enum mr_status mr_registry_add(struct mr_registry *registry,
    const struct millrace_kind *const *kinds, const char *origin,
    struct mr_err *err) MR_MUST_CHECK;

/* A shared object with `millrace_kinds` and `millrace_kinds_api`. MR_BAD_SETTING: it cannot be
 * loaded, was written for another API, or as above. */
enum mr_status mr_registry_load(
    struct mr_registry *registry, const char *path, struct mr_err *err) MR_MUST_CHECK;

/* Leave out, before they are prepared, the kinds of which is_wanted(setting, kind) is false. */
void mr_registry_keep(struct mr_registry *registry,
    bool (*is_wanted)(const char *setting, const struct millrace_kind *kind),
    const char *setting);

/* Call each kind's `prepare`; one that says no is taken out and logged. */
void mr_registry_prepare(struct mr_registry *registry, const struct millrace_host *host);

uint32_t mr_registry_count(const struct mr_registry *registry);
const struct millrace_kind *mr_registry_at(
    const struct mr_registry *registry, uint32_t index);

/* NULL if it is not offered; else its index, too, unless `index` is NULL. */
const struct millrace_kind *mr_registry_find(
    const struct mr_registry *registry, struct mr_span name, uint32_t *index);

/* Rows for HELLO, mr_registry_count() of them. */
void mr_registry_offers(const struct mr_registry *registry, struct mr_offer *offers);

#endif
