#include "broker/writer.h"

#include "broker/meter.h"
#include "broker/writer_run.h"
#include "schemas/base/clock.h"
#include "schemas/base/log.h"

#include <czmq.h>

#include <stdlib.h>
#include <string.h>

#define RETRY_BASE_MS 100
#define RETRY_CAP_MS 2000
#define BUSY_RETRIES_MAX 3
#define CLAIM_MS 250 /* how often a standby tries */
#define HOUSE_US (INT64_C(3600) * 1000000)
#define RAISE_US (INT64_C(60) * 1000000) /* the low-water mark, when it has caught up */
#define RAISE_ON_US 1000000 /* ... and when it has not: a start looks from there on */
#define RENEWALS_PER_LEASE 3
#define RIGHTS_US 100000 /* many changes in a row are read together */

struct mr_writer {
    zactor_t *actor;
    struct mr_mailbox *tasks;
    struct mr_writer_conf conf;
};

/* The thread's own. */
struct desk {
    struct mr_writer *writer;
    zsock_t *pipe;
    struct mr_store *store;
    bool is_ending; /* it was asked to */
    bool is_dead;   /* fatal: every task comes back with this status */
    bool is_up;
    bool has_reconnected; /* since it went well last */
    int retries;
    int64_t renew_us, house_us, raise_us; /* monotonic, next time */
    int64_t rights_us;                    /* ... not sooner */
    uint64_t epoch;
    struct mr_err fatal;
};

/* ---- saying ------------------------------------------------------------------------------------ */

static struct mr_task *
news_new(enum mr_news news)
{
    struct mr_task *task = mr_task_new(MR_TASK_NEWS);

    /* Nothing can be said or done without it; a restart loses nothing. */
    MR_ASSERT(task);
    task->news = news;
    return task;
}

static void
say(struct desk *desk, enum mr_news news, const struct mr_err *err)
{
    struct mr_task *task = news_new(news);

    if (err)
        task->err = *err;
    mr_mailbox_give(desk->writer->conf.answers, &task->node);
}

static void
die(struct desk *desk, const struct mr_err *err)
{
    if (desk->is_dead)
        return;
    desk->is_dead = true;
    desk->fatal = *err;
    say(desk, MR_NEWS_FATAL, err);
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static void
read_pipe(struct desk *desk)
{
    char *word = zstr_recv(desk->pipe);

    /* STOP, or $TERM from a main that is in a hurry. */
    desk->is_ending = true;
    zstr_free(&word);
}

/* Sleep for so long, or until a word comes through the pipe or, if `with_tasks`, a task or a word
 * of the database. */
static void
nap(struct desk *desk, int64_t ms, bool with_tasks)
{
    int database = with_tasks && desk->store ? mr_store_fd(desk->store) : -1;
    zmq_pollitem_t items[3] = {
        {.socket = zsock_resolve(desk->pipe), .events = ZMQ_POLLIN},
        {.fd = mr_mailbox_fd(desk->writer->tasks), .events = ZMQ_POLLIN},
        {.fd = database, .events = ZMQ_POLLIN}};
    int rc = zmq_poll(items,
        !with_tasks    ? 1
        : database < 0 ? 2
                       : 3,
        ms < 0 ? 0 : (long)ms);

    if (rc > 0 && items[0].revents)
        read_pipe(desk);
    if (rc > 0 && with_tasks && items[1].revents)
        mr_mailbox_hush(desk->writer->tasks);
}

static void
back_off(struct desk *desk)
{
    int64_t ms = RETRY_CAP_MS;

    if (desk->retries < 5)
        ms = RETRY_BASE_MS << desk->retries;
    desk->retries++;
    nap(desk, ms < RETRY_CAP_MS ? ms : RETRY_CAP_MS, false);
}

static void
went_down(struct desk *desk, const struct mr_err *err)
{
    if (desk->is_up) {
        desk->is_up = false;
        say(desk, MR_NEWS_DOWN, err);
    }
}

static void
went_well(struct desk *desk)
{
    desk->retries = 0;
    desk->has_reconnected = false;
    if (!desk->is_up) {
        desk->is_up = true;
        say(desk, MR_NEWS_UP, NULL);
    }
}

/* After a failure that may pass. False: give up, because we are to end or it was fatal. */
static bool
recover(struct desk *desk, enum mr_status status, const struct mr_err *why)
{
    struct mr_err err = *why;

    /* A conflict with somebody's lock is no outage until it lasts. */
    if (status != MR_BUSY || desk->retries >= BUSY_RETRIES_MAX)
        went_down(desk, why);
    while (!desk->is_ending) {
        /* A lost connection is often the only trouble: the first time at once. */
        if (status != MR_STORE_DOWN || desk->has_reconnected)
            back_off(desk);
        desk->has_reconnected = true;
        if (desk->is_ending)
            break;
        if (status != MR_STORE_DOWN)
            return true; /* full or in conflict: connected all the same */
        status = mr_store_reconnect(desk->store, &err);
        if (status == MR_OK)
            return true;
        if (!mr_status_is_retryable(status)) {
            die(desk, &err);
            return false;
        }
    }
    return false;
}

/* ---- starting ---------------------------------------------------------------------------------- */

static bool
open_store(struct desk *desk)
{
    const struct mr_writer_conf *conf = &desk->writer->conf;
    struct mr_err err = {0};
    enum mr_status status;

    for (;;) {
        status = mr_store_open(
            &desk->store, conf->database, conf->shard, conf->instance, &err);
        if (status == MR_OK)
            return true;
        if (!mr_status_is_retryable(status) || !conf->waits) {
            die(desk, &err);
            return false;
        }
        if (desk->retries == 0)
            say(desk, MR_NEWS_DOWN, &err);
        back_off(desk);
        if (desk->is_ending)
            return false;
    }
}

/* What is wrong while we are not the owner yet. False: stop trying. */
static bool
wait_for_claim(
    struct desk *desk, enum mr_status status, const struct mr_err *err, bool *was_told)
{
    if (status == MR_BUSY) {
        if (!*was_told)
            say(desk, MR_NEWS_STANDBY, err);
        *was_told = true;
        nap(desk, CLAIM_MS, false);
        return !desk->is_ending;
    }
    if (mr_status_is_retryable(status))
        return recover(desk, status, err);
    die(desk, err);
    return false;
}

static bool
claim(struct desk *desk)
{
    const struct mr_writer_conf *conf = &desk->writer->conf;
    struct mr_task *news = news_new(MR_NEWS_CLAIMED);
    bool was_told = false;
    enum mr_status status;

    desk->is_up = true;
    do {
        status = mr_store_claim(
            desk->store, conf->endpoints, conf->lease_ms, &desk->epoch, &news->err);
        if (status == MR_OK)
            status = mr_writer_run_policy(desk->store, news);
        if (status == MR_OK) {
            desk->retries = 0;
            desk->is_up = true;
            news->epoch = desk->epoch;
            mr_mailbox_give(conf->answers, &news->node);
            return true;
        }
    } while (wait_for_claim(desk, status, &news->err, &was_told));
    mr_task_destroy(&news);
    return false;
}

/* ---- serving ------------------------------------------------------------------------------------ */

static bool
may_pass(enum mr_status status)
{
    return mr_status_is_retryable(status);
}

static void
settle_due(struct desk *desk, enum mr_status status, const struct mr_err *err)
{
    if (status == MR_OK)
        went_well(desk);
    else if (may_pass(status))
        (void)recover(desk, status, err);
    else if (status == MR_FENCED)
        die(desk, err);
    else
        mr_log(MR_LOG_WARN, "housekeeping", "status=%s why=\"%s\"",
            mr_status_name(status), err->why);
}

static void
do_due(struct desk *desk)
{
    const struct mr_writer_conf *conf = &desk->writer->conf;
    int64_t now = mr_clock_now().mono_us;
    struct mr_err err = {0};

    if (now >= desk->renew_us) {
        desk->renew_us = now + conf->lease_ms * INT64_C(1000) / RENEWALS_PER_LEASE;
        settle_due(desk, mr_store_renew(desk->store, conf->lease_ms, &err), &err);
    }
    if (!desk->is_dead && desk->is_up && now >= desk->raise_us) {
        bool more;

        settle_due(desk, mr_store_raise(desk->store, &more, &err), &err);
        desk->raise_us = now + (more ? RAISE_ON_US : RAISE_US);
    }
    if (!desk->is_dead && desk->is_up && now >= desk->house_us) {
        desk->house_us = now + HOUSE_US;
        settle_due(
            desk, mr_store_keep_house(desk->store, conf->retention_days, &err), &err);
    }
}

static int64_t
until_due_ms(const struct desk *desk)
{
    int64_t now_us = mr_clock_now().mono_us;
    int64_t due_us = desk->renew_us;

    if (desk->rights_us > now_us && desk->rights_us < due_us)
        due_us = desk->rights_us;
    return (due_us - now_us) / 1000 + 1;
}

/* The last snapshot stays until there is a newer one that can be read. */
static void
look_at_rights(struct desk *desk)
{
    struct mr_task *news;
    enum mr_status status;

    if (!desk->is_up || !mr_store_rights_moved(desk->store) ||
        mr_clock_now().mono_us < desk->rights_us)
        return;
    news = news_new(MR_NEWS_RIGHTS);
    status = mr_writer_run_rights(desk->store, news);
    desk->rights_us = mr_clock_now().mono_us + RIGHTS_US;
    settle_due(desk, status, &news->err);
    if (status == MR_OK)
        mr_mailbox_give(desk->writer->conf.answers, &news->node);
    else
        mr_task_destroy(&news);
}

/* A task's mistake is answered; the database's is waited out. */
static void
work(struct desk *desk, struct mr_task *task)
{
    int64_t began_ns = mr_meter_now_ns();
    enum mr_status status = MR_DRAINING;
    bool is_in_doubt = false;

    while (!desk->is_dead) {
        status = mr_writer_run(desk->store, task);
        if (!may_pass(status))
            break;
        is_in_doubt |= status == MR_STORE_DOWN && task->type == MR_TASK_COMMIT;
        if (!recover(desk, status, &task->err)) {
            status = MR_DRAINING;
            break;
        }
    }
    if (status == MR_FENCED)
        die(desk, &task->err);
    else if (status == MR_OK)
        went_well(desk);
    /* Who changed rights is told so when they hold. */
    if (status == MR_OK && task->type == MR_TASK_PRINCIPAL) {
        desk->rights_us = 0;
        look_at_rights(desk);
    }
    if (status == MR_OK && is_in_doubt)
        mr_log(MR_LOG_INFO, "settled", "rows=%u", task->batch.count);
    task->status = desk->is_dead ? desk->fatal.status : status;
    task->took_ns = mr_meter_now_ns() - began_ns;
    mr_mailbox_give(desk->writer->conf.answers, &task->node);
}

static void
serve(struct desk *desk)
{
    struct mr_node *node;

    for (;;) {
        node = mr_mailbox_take(desk->writer->tasks);
        if (node)
            work(desk, (struct mr_task *)node);
        else if (desk->is_ending)
            return;
        else if (desk->is_dead)
            nap(desk, 60000, true);
        else
            nap(desk, until_due_ms(desk), true);
        if (!desk->is_dead && !desk->is_ending)
            do_due(desk);
        if (!desk->is_dead && !desk->is_ending)
            look_at_rights(desk);
    }
}

static void
run(zsock_t *pipe, void *args)
{
    struct desk desk = {.writer = args, .pipe = pipe};

    mr_log_thread("writer");
    (void)zsock_signal(pipe, 0);
    if (open_store(&desk) && claim(&desk)) {
        desk.renew_us = mr_clock_now().mono_us;
        desk.house_us = desk.raise_us = desk.renew_us;
    }
    if (desk.store && desk.epoch)
        serve(&desk);
    mr_store_close(&desk.store);
    say(&desk, MR_NEWS_STOPPED, NULL);
    while (!desk.is_ending)
        read_pipe(&desk);
}

/* ---- from outside ---------------------------------------------------------------------------- */

enum mr_status
mr_writer_new(struct mr_writer **out, const struct mr_writer_conf *conf)
{
    struct mr_writer *writer = calloc(1, sizeof *writer);

    *out = NULL;
    if (!writer)
        return MR_NO_MEMORY;
    writer->conf = *conf;
    if (mr_mailbox_new(&writer->tasks)) {
        free(writer);
        return MR_NO_MEMORY;
    }
    writer->actor = zactor_new(run, writer);
    if (!writer->actor) {
        mr_mailbox_destroy(&writer->tasks);
        free(writer);
        return MR_NO_MEMORY;
    }
    *out = writer;
    return MR_OK;
}

void
mr_writer_give(struct mr_writer *writer, struct mr_task *task)
{
    mr_mailbox_give(writer->tasks, &task->node);
}

void
mr_writer_stop(struct mr_writer *writer)
{
    (void)zstr_send(writer->actor, "STOP");
}

void
mr_writer_destroy(struct mr_writer **writer)
{
    struct mr_node *node;

    if (!*writer)
        return;
    zactor_destroy(&(*writer)->actor);
    while ((node = mr_mailbox_take((*writer)->tasks)) != NULL) {
        struct mr_task *task = (struct mr_task *)node;

        mr_task_destroy(&task);
    }
    mr_mailbox_destroy(&(*writer)->tasks);
    free(*writer);
    *writer = NULL;
}
