#include "tests/sim/sim.h"

#define AGAIN_US INT64_C(500000)
#define LOOK_AT 48 /* jobs, for one that needs something */

/* ---- what has to be answered ------------------------------------------------------------------ */

static struct sim_outbox *
new_item(struct sim *sim, struct sim_client *client, enum mr_verb verb)
{
    for (uint32_t i = 0; i < SIM_OUTBOX_MAX; i++) {
        struct sim_outbox *item = &client->outbox[i];

        if (item->is_used)
            continue;
        *item = (struct sim_outbox){
            .is_used = true, .verb = verb, .corr = ++client->end.corr};
        item->again_us = sim->now.mono_us + AGAIN_US;
        client->outbox_count++;
        return item;
    }
    sim_fail(sim, "the outbox is large enough", __FILE__, __LINE__);
}

static struct sim_outbox *
find_item(struct sim_client *client, uint64_t corr)
{
    for (uint32_t i = 0; i < SIM_OUTBOX_MAX; i++)
        if (client->outbox[i].is_used && client->outbox[i].corr == corr)
            return &client->outbox[i];
    return NULL;
}

static void
drop_item(struct sim_client *client, struct sim_outbox *item)
{
    item->is_used = false;
    client->outbox_count--;
}

static void
say_submit(struct sim *sim, struct sim_client *client, const struct sim_outbox *item)
{
    uint8_t queue = sim->jobs[item->items[0].job].queue;
    size_t mark = mr_put_submit_open(
        &sim->wr, item->corr, mr_span_str(sim_name('q', queue)), item->flags);

    for (uint32_t i = 0; i < item->n; i++) {
        struct mr_job_new job =
            sim_job_new(sim, item->items[i].job, item->items[i].is_forged);

        sim_log(sim, "submit", item->items[i].job, item->corr, item->flags);
        mr_put_submit_job(&sim->wr, &job);
    }
    mr_put_submit_close(&sim->wr, mark, item->n);
    sim_end_say(sim, &client->end);
}

static void
say_cancel(struct sim *sim, struct sim_client *client, const struct sim_outbox *item)
{
    const struct mr_uuid *id = &sim->jobs[item->items[0].job].id;

    mr_put_call_open(&sim->wr, item->corr, "cancel");
    mr_wr_map(&sim->wr, 1);
    mr_wr_str(&sim->wr, mr_span_str("id"));
    mr_wr_bin(&sim->wr, mr_span(id->b, sizeof id->b));
    sim_end_say(sim, &client->end);
}

static void
say_item(struct sim *sim, struct sim_client *client, struct sim_outbox *item)
{
    item->again_us = sim->now.mono_us + AGAIN_US;
    if (item->verb == MR_SUBMIT)
        say_submit(sim, client, item);
    else
        say_cancel(sim, client, item);
    item->flags |= MR_SUBMIT_RESENT;
}

static void
say_again(struct sim *sim, struct sim_client *client, bool all)
{
    for (uint32_t i = 0; client->outbox_count && i < SIM_OUTBOX_MAX; i++) {
        struct sim_outbox *item = &client->outbox[i];

        if (item->is_used && (all || sim->now.mono_us >= item->again_us))
            say_item(sim, client, item);
    }
}

static bool
is_on_the_way(const struct sim_client *client, uint32_t job)
{
    for (uint32_t i = 0; client->outbox_count && i < SIM_OUTBOX_MAX; i++)
        for (uint32_t k = 0; client->outbox[i].is_used && k < client->outbox[i].n; k++)
            if (client->outbox[i].items[k].job == job)
                return true;
    return false;
}

/* ---- what it does ------------------------------------------------------------------------------- */

static void
submit_one(struct sim *sim, struct sim_client *client, uint32_t job, uint32_t flags,
    bool is_forged)
{
    struct sim_outbox *item = new_item(sim, client, MR_SUBMIT);

    item->flags = flags;
    item->items[item->n++] = (struct sim_item){job, is_forged};
    say_item(sim, client, item);
}

/* Some new jobs of one queue; sometimes the same id twice. */
static void
submit_new(struct sim *sim, struct sim_client *client)
{
    struct sim_outbox *item = new_item(sim, client, MR_SUBMIT);
    uint32_t want = 1 + (uint32_t)sim_random(sim, SIM_SUBMIT_MAX - 1);
    uint8_t queue = (uint8_t)sim_random(sim, SIM_QUEUES);

    item->flags = sim_random(sim, 2) ? MR_SUBMIT_WATCH : 0;
    while (item->n < want && sim->to_submit) {
        uint32_t job = sim_job_make(sim, client->number);

        sim->to_submit = job == SIM_NONE ? 0 : sim->to_submit - 1;
        if (job == SIM_NONE)
            break;
        sim->jobs[job].queue = queue;
        item->items[item->n++].job = job;
    }
    if (!item->n) {
        drop_item(client, item);
        return;
    }
    if (item->n < SIM_SUBMIT_MAX && sim_random(sim, 6) == 0) {
        item->items[item->n] = item->items[0];
        item->n++;
    }
    say_item(sim, client, item);
}

static void
watch(struct sim *sim, struct sim_client *client, uint32_t job)
{
    mr_put_watch(&sim->wr, ++client->end.corr, &sim->jobs[job].id, 1, true);
    sim_end_say(sim, &client->end);
}

static void
cancel(struct sim *sim, struct sim_client *client, uint32_t job)
{
    struct sim_outbox *item = new_item(sim, client, MR_CALL);

    sim->jobs[job].has_cancelled = true;
    item->items[item->n++].job = job;
    sim_log(sim, "cancel", client->number, job, 0);
    say_item(sim, client, item);
}

static void
care_for(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct sim_job *job = &sim->jobs[index];

    if (!job->is_acked)
        submit_one(sim, client, index, MR_SUBMIT_RESENT, false);
    else if (job->has_cancelled && !job->is_cancel_answered)
        cancel(sim, client, index);
    else if (!job->has_heard)
        watch(sim, client, index);
}

/* What is another principal's is a conflict, or is not there, whatever becomes of it. */
static void
spy(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct sim_outbox *item;

    if (!sim->jobs[index].is_stored || is_on_the_way(client, index))
        return;
    if (sim_random(sim, 3) == 0) {
        watch(sim, client, index);
    } else if (sim_random(sim, 2)) {
        submit_one(
            sim, client, index, (uint32_t)sim_random(sim, 2) * MR_SUBMIT_WATCH, false);
    } else {
        item = new_item(sim, client, MR_CALL);
        item->items[item->n++].job = index;
        say_item(sim, client, item);
    }
    sim_count(sim, SIM_N_SPIED);
}

/* What nobody needs but may happen: a cancel, a repeat, another body under a known id. */
static void
meddle(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct sim_job *job = &sim->jobs[index];

    if (!sim_is_own(sim, client->number, index)) {
        spy(sim, client, index);
        return;
    }
    if (job->client == SIM_NONE || is_on_the_way(client, index))
        return;
    if (job->is_acked && !job->has_cancelled && job->client == client->number &&
        sim_random(sim, 3) == 0)
        cancel(sim, client, index);
    else if (job->is_acked)
        submit_one(sim, client, index,
            MR_SUBMIT_RESENT | (uint32_t)sim_random(sim, 2) * MR_SUBMIT_WATCH,
            sim_random(sim, 4) == 0);
    else if (!job->expires_at_us) /* two clients at once */
        submit_one(sim, client, index, 0, false);
}

static bool
needs_care(const struct sim_job *job)
{
    return !job->is_refused && (!job->is_acked || !job->has_heard ||
                                   (job->has_cancelled && !job->is_cancel_answered));
}

/* New jobs come all the time that there are faults. */
static bool
is_time_for_more(const struct sim *sim)
{
    int64_t done = sim->rates.jobs - sim->to_submit;

    return sim->to_submit && (sim->now.mono_us - sim->began_us) * sim->rates.jobs >=
                                 done * sim->rates.faults_us;
}

static void
act(struct sim *sim, struct sim_client *client)
{
    uint32_t index = (uint32_t)sim_random(sim, sim->submitted ? sim->submitted : 1);

    client->acts_us = sim->now.mono_us + 1 +
                      sim_random_us(sim, 20000 + 4000 * (int64_t)sim->rates.clients);
    if (client->outbox_count > SIM_OUTBOX_MAX / 2)
        return;
    if (is_time_for_more(sim))
        submit_new(sim, client);
    if (sim->submitted && sim_fault(sim, 50))
        meddle(sim, client, index);
    if (sim_random(sim, 3))
        return;
    for (uint32_t i = 0; i < LOOK_AT && i < sim->submitted; i++) {
        index = (index + 1) % sim->submitted;
        if (sim->jobs[index].client != client->number || !needs_care(&sim->jobs[index]) ||
            is_on_the_way(client, index))
            continue;
        care_for(sim, client, index);
        return;
    }
}

/* ---- answers ---------------------------------------------------------------------------------------- */

static void
judge_verdict(struct sim *sim, const struct sim_client *client,
    const struct sim_item *item, enum mr_status code)
{
    struct sim_job *job = &sim->jobs[item->job];

    if (!sim_is_own(sim, client->number, item->job)) {
        SIM_MUST(code == MR_CONFLICT || code == MR_BUSY || code == MR_NO_KIND ||
                 code == MR_EXPIRED || code == MR_BAD_ARGUMENT);
        return;
    }
    switch (code) {
    case MR_OK:
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
    case MR_NO_KIND: /* no worker has ever come */
        break;
    case MR_EXPIRED:
    case MR_BAD_ARGUMENT: /* it was delayed beyond its expiry */
        /* A repeat that arrived with it may have been stored, to expire at once: see judge.c. */
        SIM_MUST(job->expires_at_us);
        job->is_refused = true;
        break;
    default:
        sim_log(sim, "verdict", item->job, (uint64_t)code, 0);
        sim_fail(sim, "the verdict is one that can be", __FILE__, __LINE__);
    }
}

static void
on_ack(struct sim *sim, struct sim_client *client, const struct mr_msg *msg)
{
    struct sim_outbox *sent = find_item(client, msg->corr);
    enum mr_status codes[SIM_SUBMIT_MAX] = {MR_OK};
    struct mr_verdict verdict;
    struct mr_ack ack;

    SIM_MUST(mr_get_ack(msg, &ack) == MR_OK);
    if (!sent)
        return;
    SIM_MUST(ack.count == sent->n);
    while (ack.verdicts) {
        SIM_MUST(mr_get_verdict(&ack, &verdict) == MR_OK);
        SIM_MUST(verdict.index < sent->n && codes[verdict.index] == MR_OK);
        codes[verdict.index] = verdict.code;
    }
    for (uint32_t i = 0; i < sent->n; i++) {
        if (codes[i] == MR_OK || codes[i] == MR_KNOWN)
            sim_count(sim, codes[i] ? SIM_N_KNOWN : SIM_N_ACKED);
        judge_verdict(sim, client, &sent->items[i], codes[i]);
    }
    drop_item(client, sent);
}

/* What is heard of a job never goes back. */
static void
judge_event(struct sim *sim, const struct sim_client *client, struct sim_job *job,
    const struct mr_event *event)
{
    if (event->type == MR_EVENT_PROGRESS || event->type == MR_EVENT_RETRYING) {
        SIM_MUST(!job->has_heard);
        if (job->seen_round != client->round)
            job->seen_attempt = 0;
        job->seen_round = client->round;
        SIM_MUST(event->attempt >= job->seen_attempt);
        job->seen_attempt = event->attempt;
    }
    if (event->type == MR_EVENT_NO_JOB)
        SIM_MUST(!job->has_heard);
    if (event->type != MR_EVENT_FINISHED)
        return;
    SIM_MUST(!job->has_heard || job->heard == event->outcome);
    job->has_heard = true;
    job->heard = event->outcome;
}

static void
on_event(struct sim *sim, struct sim_client *client, const struct mr_msg *msg)
{
    struct mr_events events;
    struct mr_event event;

    SIM_MUST(mr_get_events(msg, &events) == MR_OK);
    while (events.events) {
        struct sim_job *job;

        SIM_MUST(mr_get_event(&events, &event) == MR_OK);
        job = &sim->jobs[sim_index(event.id)];
        if (!sim_is_own(sim, client->number, sim_index(event.id)))
            SIM_MUST(event.type == MR_EVENT_NO_JOB);
        if (event.type == MR_EVENT_FINISHED)
            SIM_MUST(job->is_finished && job->outcome == event.outcome);
        if (event.type == MR_EVENT_FINISHED && event.outcome == MR_SUCCEEDED)
            SIM_MUST(mr_span_eq(event.body, sim_job_result(sim_index(event.id))));
        if (job->client == client->number)
            judge_event(sim, client, job, &event);
    }
}

static void
on_reply(struct sim *sim, struct sim_client *client, const struct mr_msg *msg)
{
    struct sim_outbox *sent = find_item(client, msg->corr);
    struct mr_reply reply;
    struct sim_job *job;

    SIM_MUST(mr_get_reply(msg, &reply) == MR_OK);
    if (!sent)
        return;
    job = &sim->jobs[sent->items[0].job];
    if (!sim_is_own(sim, client->number, sent->items[0].job)) {
        SIM_MUST(reply.code == MR_NO_JOB || reply.code == MR_BUSY);
        drop_item(client, sent);
        return;
    }
    if (reply.code == MR_OK) {
        SIM_MUST(job->is_finished && job->outcome == MR_OUT_CANCELLED);
        job->is_cancel_confirmed = true;
    } else if (reply.code == MR_FINISHED) {
        SIM_MUST(job->is_finished);
    } else {
        SIM_MUST(reply.code == MR_BUSY);
    }
    job->is_cancel_answered = job->is_cancel_answered || reply.code != MR_BUSY;
    drop_item(client, sent);
}

static void
on_error(struct sim *sim, struct sim_client *client, const struct mr_msg *msg)
{
    struct sim_outbox *sent = find_item(client, msg->corr);
    struct mr_error error;

    SIM_MUST(mr_get_error(msg, &error) == MR_OK);
    SIM_MUST(mr_status_is_retryable(error.code));
    sim_count(sim, SIM_N_REFUSED);
    if (sent)
        sent->again_us = sim->now.mono_us + 1 + sim_random_us(sim, 400000);
}

static void
take(struct sim *sim, struct sim_client *client, const struct mr_msg *msg)
{
    if (sim_end_takes(sim, &client->end, msg))
        return;
    if (msg->verb == MR_WELCOME) {
        client->round++;
        say_again(sim, client, true);
    } else if (msg->verb == MR_ACK) {
        on_ack(sim, client, msg);
    } else if (msg->verb == MR_EVENT) {
        on_event(sim, client, msg);
    } else if (msg->verb == MR_REPLY) {
        on_reply(sim, client, msg);
    } else if (msg->verb == MR_ERROR) {
        on_error(sim, client, msg);
    }
}

static void
receive(struct sim *sim, struct sim_client *client)
{
    struct sim_message *message;
    struct mr_msg msg;

    while (client->end.conn != SIM_NONE && !client->end.must_fall &&
           (message = sim_take(sim, client->end.conn, false)) != NULL) {
        SIM_MUST(mr_msg_open(mr_span(message->bytes, message->n), &msg) == MR_OK);
        take(sim, client, &msg);
        free(message);
    }
}

/* ---- a turn -------------------------------------------------------------------------------------------- */

static void
connect_next(struct sim *sim, struct sim_client *client)
{
    struct mr_hello hello = {.proto_min = MR_PROTO_VERSION,
        .proto_max = MR_PROTO_VERSION,
        .role = MR_ROLE_CLIENT,
        .name = mr_span_str("client")};

    sim_end_connect(sim, &client->end, SIM_WORKERS_MAX + client->number);
    if (client->end.conn == SIM_NONE)
        return;
    mr_put_hello(&sim->wr, ++client->end.corr, &hello, NULL);
    sim_end_say(sim, &client->end);
}

void
sim_client_turn(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];
    int64_t due_us;

    if (client->end.state == SIM_LINK_DOWN && sim->now.mono_us >= client->end.next_try_us)
        connect_next(sim, client);
    receive(sim, client);
    if (client->end.state == SIM_LINK_UP && !client->end.must_fall) {
        say_again(sim, client, false);
        if (sim->now.mono_us >= client->acts_us)
            act(sim, client);
    }
    sim_end_watch(sim, &client->end);
    if (client->end.must_fall)
        sim_end_fall(sim, &client->end, SIM_WORKERS_MAX + number);
    due_us = sim_end_due_us(&client->end);
    if (client->end.state == SIM_LINK_UP && client->acts_us < due_us)
        due_us = client->acts_us;
    sim_wake(sim, SIM_WORKERS_MAX + number, due_us);
}

/* It forgets what it was about to hear; what it knows of its jobs it has written down. */
void
sim_client_crash(struct sim *sim, uint32_t number)
{
    struct sim_client *client = &sim->clients[number];

    sim_log(sim, "client dies", number, 0, 0);
    sim_count(sim, SIM_N_CLIENT_CRASHES);
    memset(client->outbox, 0, sizeof client->outbox);
    client->outbox_count = 0;
    client->end.must_fall = true;
    sim_wake(sim, SIM_WORKERS_MAX + number, sim->now.mono_us + 1);
}

bool
sim_clients_are_content(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->submitted; i++)
        if (sim->jobs[i].client != SIM_NONE && needs_care(&sim->jobs[i]))
            return false;
    for (uint32_t i = 0; i < sim->rates.clients; i++)
        if (sim->clients[i].outbox_count)
            return false;
    return true;
}
