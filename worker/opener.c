#include "worker/opener.h"

#include <limits.h>
#include <stdlib.h>

#include "schemas/base/clock.h"
#include "schemas/base/log.h"
#include "worker/settings.h"

/* Another worker may have the key, or this one after its next start: while keys are being rotated. */
#define NO_KEY_RETRY_MS 30000u

/* ---- which kinds ------------------------------------------------------------------------------- */

/* As `isolate`: yes, no, or names. */
enum mr_status
mr_opener_choose(
    struct mr_opener *opener, const char *wanted, const struct mr_registry *registry)
{
    uint32_t count = mr_registry_count(registry), index;
    bool is_all = strcmp(wanted, "yes") == 0;
    char name[128];

    if (!wanted[0] || strcmp(wanted, "no") == 0)
        return MR_OK;
    opener->only = calloc(count ? count : 1, sizeof *opener->only);
    if (!opener->only)
        return MR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        opener->only[i] = is_all;
    while (!is_all && mr_settings_next(&wanted, name, sizeof name))
        if (mr_registry_find(registry, mr_span_str(name), &index))
            opener->only[index] = true;
        else
            mr_log(MR_LOG_WARN, "seal_only",
                "kind=\"%s\" why=\"there is no such kind here: give yes, no, or names\"",
                name);
    return MR_OK;
}

enum mr_status
mr_opener_read(struct mr_opener *opener, const char *seal_file, struct mr_err *err)
{
    char room[PATH_MAX], id[MR_SEAL_ID_TEXT];
    const char *path = mr_seal_ring_path(seal_file, room, sizeof room);
    enum mr_status status = path ? mr_seal_ring_read(path, &opener->ring, err) : MR_OK;

    if (opener->ring)
        mr_log(MR_LOG_INFO, "seal", "keys=%u first=%s", mr_seal_ring_count(opener->ring),
            mr_seal_ring_id(opener->ring, 0, id));
    return status;
}

void
mr_opener_fini(struct mr_opener *opener)
{
    mr_seal_ring_destroy(&opener->ring);
    free(opener->only);
    opener->only = NULL;
}

enum mr_status
mr_opener_seal(
    const struct mr_opener *opener, struct mr_uuid parent, const struct mr_seal_ask *ask)
{
    const struct mr_seal_job job = {
        .id = mr_uuid_derive(parent, ask->label, 0), .kind = ask->kind};

    return opener && opener->ring ? mr_seal(opener->ring, 0, &job, ask->plain, ask->out)
                                  : MR_NOT_FOUND;
}

/* ---- one attempt --------------------------------------------------------------------------------- */

static bool
refuse(struct mr_attempt *attempt, enum mr_report report, const char *text)
{
    char key[MR_SEAL_ID_TEXT];

    attempt->done.started_at_us = mr_clock_wall_us();
    attempt->done.retry_after_ms = report == MR_DID_FAIL ? NO_KEY_RETRY_MS : 0;
    if (mr_seal_key_of(attempt->payload, key))
        mr_attempt_reportf(attempt, report, "%s (key %s)", text, key);
    else
        mr_attempt_report(attempt, report, mr_span_str(text));
    return false;
}

bool
mr_opener_look(const struct mr_opener *opener, struct mr_attempt *attempt)
{
    const struct mr_seal_job job = {
        .id = attempt->id, .kind = mr_span_str(attempt->kind->name)};
    struct mr_span plain;

    if (attempt->is_opened) /* before it came back from its group */
        return true;
    if (!mr_seal_is_sealed(attempt->payload))
        return !opener->only[attempt->kind_index] ||
               refuse(attempt, MR_DID_FAIL_FOR_GOOD,
                   "SEAL_MISSING: the payload is not sealed, and this worker runs only "
                   "sealed "
                   "jobs of this kind");
    /* The payload is the attempt's own copy. */
    switch (mr_seal_open(opener->ring, &job, (uint8_t *)(uintptr_t)attempt->payload.p,
        attempt->payload.n, &plain)) {
    case MR_OK:
        attempt->payload = plain;
        attempt->is_opened = true;
        return true;
    case MR_NOT_FOUND:
        return refuse(attempt, MR_DID_FAIL,
            opener->ring
                ? "SEAL_NO_KEY: the payload is sealed with a key that is not in this "
                  "worker's keyring"
                : "SEAL_NO_KEY: the payload is sealed, and this worker has no keyring");
    case MR_MALFORMED:
        return refuse(attempt, MR_DID_FAIL_FOR_GOOD,
            "SEAL_BROKEN: the payload claims to be sealed, in a form that is unknown "
            "here");
    default:
        return refuse(attempt, MR_DID_FAIL_FOR_GOOD,
            "SEAL_BROKEN: the payload does not open: it was sealed for another job or "
            "kind, or "
            "changed since");
    }
}
