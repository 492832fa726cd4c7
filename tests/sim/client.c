#include "tests/sim/sim.h"

/* ---- what has to be acknowledged ---------------------------------------------------------------- */

void
sim_outbox_put(struct sim *sim, uint32_t number, const struct sim_message *message)
{
    struct sim_actor *actor = &sim->actors[number];

    for (uint32_t i = 0; i < SIM_HELD; i++) {
        if (actor->outbox[i].is_used)
            continue;
        actor->outbox[i] = (struct sim_outbox){
            .is_used = true, .message = *message, .again_us = sim->now.mono_us + 500000};
        return;
    }
    sim_fail(sim, "the outbox is large enough", __LINE__);
}

void
sim_outbox_step(struct sim *sim, uint32_t number, bool all)
{
    struct sim_actor *actor = &sim->actors[number];

    for (uint32_t i = 0; i < SIM_HELD; i++) {
        struct sim_outbox *item = &actor->outbox[i];
        struct sim_message *message;

        if (!item->is_used || (!all && sim->now.mono_us < item->again_us))
            continue;
        item->again_us = sim->now.mono_us + 500000;
        item->message.flags |= MR_SUBMIT_RESENT;
        message = sim_send(sim, number, item->message.type, true);
        message->corr = item->message.corr;
        message->flags = item->message.flags;
        message->n = item->message.n;
        memcpy(message->items, item->message.items, sizeof message->items);
    }
}

const struct sim_outbox *
sim_outbox_find(const struct sim_actor *actor, uint64_t corr)
{
    for (uint32_t i = 0; i < SIM_HELD; i++) {
        if (actor->outbox[i].is_used && actor->outbox[i].message.corr == corr)
            return &actor->outbox[i];
    }
    return NULL;
}

void
sim_outbox_drop(struct sim *sim, uint32_t number, uint64_t corr)
{
    struct sim_actor *actor = &sim->actors[number];

    for (uint32_t i = 0; i < SIM_HELD; i++) {
        if (actor->outbox[i].is_used && actor->outbox[i].message.corr == corr)
            actor->outbox[i].is_used = false;
    }
}

/* ---- jobs ------------------------------------------------------------------------------------------ */

static struct mr_uuid
make_id(const struct sim *sim, uint32_t index)
{
    uint64_t ms = (uint64_t)sim->now.wall_us / 1000;
    struct mr_uuid id = {{0}};

    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = 0x70;
    id.b[8] = 0x80;
    id.b[14] = (uint8_t)(index >> 8);
    id.b[15] = (uint8_t)index;
    return id;
}

static uint32_t
make_job(struct sim *sim, uint32_t client)
{
    uint32_t index = sim->submitted++;
    struct sim_job *job = &sim->jobs[index];

    *job = (struct sim_job){.id = make_id(sim, index),
        .payload_bytes = 1 + (uint32_t)sim_random(sim, sizeof job->payload),
        .queue = (uint8_t)sim_random(sim, 3),
        .kind = (uint8_t)sim_random(sim, 2),
        .lane = (uint8_t)sim_random(sim, 4),
        .priority = (uint8_t)sim_random(sim, 10),
        .way = (enum sim_way)sim_random(sim, SIM_WAYS),
        .attempts_max = (uint32_t)sim_random(sim, 4),
        .client = client};
    memset(job->payload, (int)(1 + index % 200), job->payload_bytes);
    if (sim_random(sim, 2))
        job->way = SIM_SUCCEEDS;
    if (sim_random(sim, 6) == 0)
        job->run_at_us = sim->now.wall_us + (int64_t)sim_random(sim, 500000);
    if (sim_random(sim, 8) == 0)
        job->expires_at_us =
            sim->now.wall_us + 500000 + (int64_t)sim_random(sim, 1000000);
    return index;
}

static bool
is_on_the_way(const struct sim_actor *actor, uint32_t job)
{
    for (uint32_t i = 0; i < SIM_HELD; i++) {
        for (uint32_t k = 0; actor->outbox[i].is_used && k < actor->outbox[i].message.n;
             k++)
            if (actor->outbox[i].message.items[k].job == job)
                return true;
    }
    return false;
}

static uint32_t
outbox_used(const struct sim_actor *actor)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SIM_HELD; i++)
        n += actor->outbox[i].is_used;
    return n;
}

static void
submit(struct sim *sim, uint32_t number, const struct sim_item *items, uint32_t n,
    uint32_t flags)
{
    struct sim_message *message = sim_send(sim, number, SIM_SUBMIT, true);

    message->corr = ++sim->actors[number].corr;
    message->flags = flags;
    message->n = n;
    memcpy(message->items, items, n * sizeof *items);
    sim_outbox_put(sim, number, message);
}

static void
submit_new(struct sim *sim, uint32_t number)
{
    struct sim_item items[SIM_ITEMS] = {0};
    uint32_t n = 1 + (uint32_t)sim_random(sim, 8);
    uint32_t made = 0;

    while (made < n && sim->submitted < SIM_JOBS)
        items[made++].job = make_job(sim, number);
    if (made && sim_random(sim, 4) == 0 && made < SIM_ITEMS) {
        items[made] = items[0]; /* the same id twice in one message */
        made++;
    }
    if (made)
        submit(sim, number, items, made, sim_random(sim, 2) ? MR_SUBMIT_WATCH : 0);
}

static void
send_one(struct sim *sim, uint32_t number, enum sim_type type, uint32_t job)
{
    struct sim_message *message = sim_send(sim, number, type, true);

    message->corr = ++sim->actors[number].corr;
    message->items[message->n++].job = job;
    if (type == SIM_CANCEL)
        sim_outbox_put(sim, number, message);
}

/* Something about one of its jobs, chosen at random. */
static void
care_for_one(struct sim *sim, uint32_t number)
{
    uint32_t index = (uint32_t)sim_random(sim, sim->submitted);
    struct sim_job *job = &sim->jobs[index];
    struct sim_item item = {.job = index};

    if (job->client != number || job->is_refused ||
        is_on_the_way(&sim->actors[number], index))
        return;
    if (!job->is_acked) {
        submit(sim, number, &item, 1, MR_SUBMIT_RESENT);
    } else if (sim_random(sim, 20) == 0 && !job->has_cancelled && !sim->is_healing) {
        job->has_cancelled = true;
        send_one(sim, number, SIM_CANCEL, index);
    } else if (job->has_cancelled && !job->is_cancel_answered) {
        send_one(sim, number, SIM_CANCEL, index);
    } else if (!job->has_heard && sim_random(sim, 4) == 0) {
        send_one(sim, number, SIM_WATCH, index);
    } else if (sim_random(sim, 10) == 0) {
        item.is_forged = sim_random(sim, 2);
        submit(sim, number, &item, 1, MR_SUBMIT_RESENT);
    }
}

void
sim_client_step(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];

    sim_outbox_step(sim, number, false);
    if (sim->now.mono_us < actor->next_us)
        return;
    actor->next_us = sim->now.mono_us + (int64_t)sim_random(sim, 20000);
    (void)sim_send(sim, number, SIM_PING, true);
    if (outbox_used(actor) > SIM_HELD / 2)
        return;
    if (sim->submitted < SIM_JOBS && sim_random(sim, 3) == 0)
        submit_new(sim, number);
    for (uint32_t i = 0; sim->submitted && i < 4; i++)
        care_for_one(sim, number);
}

/* ---- answers ------------------------------------------------------------------------------------------ */

static void
judge_verdict(struct sim *sim, const struct sim_item *item, uint32_t code)
{
    struct sim_job *job = &sim->jobs[item->job];

    switch (code) {
    case MR_OK:
        SIM_MUST(job->is_stored && !item->is_forged);
        job->is_acked = true;
        break;
    case MR_KNOWN:
        SIM_MUST(job->is_stored && !item->is_forged);
        job->is_acked = true;
        break;
    case MR_FINISHED:
        SIM_MUST(job->is_finished && !item->is_forged);
        job->is_acked = true;
        break;
    case MR_CONFLICT:
        SIM_MUST(item->is_forged && job->is_stored);
        break;
    case MR_BUSY:
        break;
    case MR_EXPIRED:
        SIM_MUST(!job->is_stored && job->expires_at_us);
        job->is_refused = true;
        break;
    case MR_BAD_ARGUMENT: /* it was delayed beyond its expiry */
        SIM_MUST(!job->is_stored && job->run_at_us >= job->expires_at_us);
        job->is_refused = true;
        break;
    default:
        sim_fail(sim, "the verdict is one that can be", __LINE__);
    }
}

static void
on_ack(struct sim *sim, const struct sim_message *message)
{
    const struct sim_outbox *sent =
        sim_outbox_find(&sim->actors[message->actor], message->corr);
    uint32_t codes[SIM_ITEMS] = {0};

    if (!sent)
        return;
    SIM_MUST(message->count == sent->message.n);
    for (uint32_t i = 0; i < message->n; i++) {
        SIM_MUST(message->items[i].job < sent->message.n);
        SIM_MUST(codes[message->items[i].job] == 0);
        codes[message->items[i].job] = message->items[i].code;
    }
    for (uint32_t i = 0; i < sent->message.n; i++)
        judge_verdict(sim, &sent->message.items[i], codes[i]);
    sim_outbox_drop(sim, message->actor, message->corr);
}

static void
on_event(struct sim *sim, const struct sim_message *message)
{
    struct sim_job *job = &sim->jobs[message->items[0].job];

    if (message->items[0].code == MR_EVENT_NO_JOB)
        SIM_MUST(!job->is_acked);
    if (message->items[0].code != MR_EVENT_FINISHED)
        return;
    SIM_MUST(!job->has_heard || job->heard == message->items[0].outcome);
    job->has_heard = true;
    job->heard = message->items[0].outcome;
}

static void
on_reply(struct sim *sim, const struct sim_message *message)
{
    const struct sim_outbox *sent =
        sim_outbox_find(&sim->actors[message->actor], message->corr);
    struct sim_job *job;

    if (!sent)
        return;
    job = &sim->jobs[sent->message.items[0].job];
    if (message->items[0].code == MR_OK)
        SIM_MUST(job->is_finished && job->outcome == MR_OUT_CANCELLED);
    else if (message->items[0].code == MR_FINISHED)
        SIM_MUST(job->is_finished);
    else
        SIM_MUST(message->items[0].code == MR_BUSY);
    job->is_cancel_answered = message->items[0].code != MR_BUSY;
    job->cancel_reply = (enum mr_status)message->items[0].code;
    sim_outbox_drop(sim, message->actor, message->corr);
}

void
sim_client_receive(struct sim *sim, const struct sim_message *message)
{
    if (message->type == SIM_ACK)
        on_ack(sim, message);
    else if (message->type == SIM_EVENT)
        on_event(sim, message);
    else if (message->type == SIM_REPLY)
        on_reply(sim, message);
    else if (message->type == SIM_ERROR)
        sim_outbox_drop(
            sim, message->actor, message->corr); /* taken up again by itself */
}

bool
sim_client_is_content(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->submitted; i++) {
        const struct sim_job *job = &sim->jobs[i];

        if (job->is_refused)
            continue;
        if (!job->is_acked || !job->has_heard)
            return false;
        if (job->has_cancelled && !job->is_cancel_answered)
            return false;
    }
    return true;
}
