#include "broker/call_drain.h"

#include <stdio.h>
#include <string.h>

#define INSTANCE_PREFIX_MIN 8u
#define LIST_BYTES 1024

/* Its name, or where its instance begins: the first characters are a time, which workers that
 * were started together share. */
static bool
is_worker(const struct mr_core_worker_info *info, struct mr_span who)
{
    char instance[MR_UUID_TEXT_MAX];

    return mr_span_eq(info->name, who) ||
           (who.n >= INSTANCE_PREFIX_MIN && who.n < sizeof instance &&
               memcmp(mr_uuid_format(info->instance, instance), who.p, who.n) == 0);
}

uint32_t
mr_call_drain_workers(
    struct mr_broker *broker, struct mr_span who, char *text, size_t room)
{
    struct mr_core_worker_info info;
    char list[LIST_BYTES];
    char instance[MR_UUID_TEXT_MAX];
    uint32_t cursor = 0, count = 0;
    size_t n = 0;

    list[0] = '\0';
    while (mr_core_next_worker(broker->core, &cursor, &info)) {
        if (!is_worker(&info, who))
            continue;
        mr_core_drain_worker(broker->core, broker->now, info.peer);
        count++;
        if (n + MR_NAME_BYTES_MAX + MR_UUID_TEXT_MAX + 8 > sizeof list)
            continue;
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%.*s (%s)",
            count > 1 ? ", " : "", (int)info.name.n,
            info.name.n ? (const char *)info.name.p : "",
            mr_uuid_format(info.instance, instance));
    }
    (void)snprintf(text, room,
        count ? "%u told to end in order: %s"
              : "no worker that is connected has this name, and no instance begins so; "
                "`millrace workers` lists them, and an instance takes 8 characters",
        count, list);
    return count;
}
