#include "broker/verbs.h"

enum mr_status
mr_back_on_credit(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    uint64_t limit;
    enum mr_status status = mr_get_credit(msg, &limit);

    if (status == MR_OK)
        mr_core_credit(broker->core, broker->now, peer, limit);
    return status;
}

/* Like a SUBMIT: whole or not at all. */
enum mr_status
mr_back_on_done(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_dones dones, again;
    struct mr_done done;
    enum mr_status status = mr_get_dones(msg, &dones);

    if (status)
        return status;
    again = dones;
    while (dones.dones) {
        status = mr_get_done(&dones, &done);
        if (status)
            return status;
        mr_core_done_ahead(broker->core, broker->now, peer, &done);
    }
    mr_core_done_open(
        broker->core, broker->now, peer, msg->corr, again.flags, again.dones);
    while (again.dones) {
        status = mr_get_done(&again, &done);
        MR_ASSERT(status == MR_OK);
        mr_core_done(broker->core, broker->now, &done);
    }
    mr_core_done_close(broker->core, broker->now);
    return MR_OK;
}

enum mr_status
mr_back_on_beat(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_beat beat;
    struct mr_held held;
    enum mr_status status = mr_get_beat(msg, &beat);

    while (status == MR_OK && beat.held) {
        status = mr_get_held(&beat, &held);
        if (status == MR_OK)
            mr_core_held(broker->core, broker->now, peer, &held);
    }
    return status;
}
