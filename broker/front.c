#include "broker/verbs.h"

#include "schemas/base/mutant.h"

/* A message is taken whole or not at all: it is read once to judge it, then to act on it. */
enum mr_status
mr_front_on_submit(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_submit submit, again;
    struct mr_job_new job;
    enum mr_status status = mr_get_submit(msg, &submit);
    uint32_t jobs = submit.jobs;

    if (status)
        return status;
    again = submit;
    while (submit.jobs) {
        status = mr_get_submit_job(&submit, &job);
        if (status)
            return status;
    }
    /* A refusal has been answered by the core. */
    if (mr_core_submit_open(
            broker->core, broker->now, peer, msg->corr, again.flags, jobs))
        return MR_OK;
    while (again.jobs) {
        status = mr_get_submit_job(&again, &job);
        MR_ASSERT(status == MR_OK);
        if (MR_MUTANT(resent_under_new_id) && again.flags & MR_SUBMIT_RESENT)
            job.id.b[15] ^= 1;
        mr_core_submit_job(broker->core, broker->now, &job);
    }
    mr_core_submit_close(broker->core, broker->now);
    return MR_OK;
}

enum mr_status
mr_front_on_watch(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_watch watch;
    struct mr_uuid id;
    enum mr_status status = mr_get_watch(msg, &watch);

    while (status == MR_OK && watch.ids) {
        status = mr_get_watch_id(&watch, &id);
        if (status == MR_OK)
            mr_core_watch(broker->core, broker->now, peer, id, watch.on);
    }
    return status;
}
