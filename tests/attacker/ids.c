/*
 * Names that somebody chooses: routing ids of others, those that libzmq gives, and job ids that
 * collide wherever no key is in the hash.
 */
#include "tests/attacker/attack.h"

#include "schemas/base/clock.h"

#include <sodium.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VICTIMS_CORR UINT64_C(0x7ee0000000000)
#define CLOSED_MS 10000

/* ---- routing ids ---------------------------------------------------------------------------------------- */

static void
open_as(struct zmtp *z, enum who who, const void *id, size_t n)
{
    zmtp_open(z, target.front, &target.keys[who]);
    zmtp_property(z, "Identity", id, n);
}

static void
ask(struct zmtp *z, uint64_t corr)
{
    mr_put_ping(&z->wr, corr, true);
    (void)zmtp_try_to_say(z);
}

/* PINGs are answers, too, here. */
static bool
hears_its_own(struct zmtp *victim, uint64_t corr)
{
    int64_t until_ms = rig_now_ms() + ZMTP_WAIT_MS;

    while (rig_now_ms() < until_ms) {
        if (!zmtp_hears_any(victim, ZMTP_WAIT_MS))
            return false;
        if (victim->msg.corr == corr)
            return true;
    }
    return false;
}

/* Says five things in the victim's name; true: something that was the victim's came. */
static bool
steal_five(const void *id, size_t n, struct zmtp *victim, uint64_t corr)
{
    struct mr_uuid job = mr_uuid_new(mr_clock_now().wall_us);
    bool has_stolen = false;
    struct zmtp thief;

    open_as(&thief, FRONT, id, n);
    if (zmtp_login(&thief)) {
        zmtp_put_hello(&thief, MR_ROLE_CLIENT, NULL);
        (void)zmtp_try_to_say(&thief);
        ask(&thief, 1);
        mr_put_watch(&thief.wr, 2, &job, 1, true);
        (void)zmtp_try_to_say(&thief);
        mr_put_call_open(&thief.wr, 3, "stats");
        mr_wr_nil(&thief.wr);
        (void)zmtp_try_to_say(&thief);
        ask(victim, corr);
        ask(&thief, 4);
        ck_assert_msg(hears_its_own(victim, corr), "the victim is not answered");
        while (zmtp_hears_any(&thief, 0))
            has_stolen = has_stolen || thief.msg.corr >= VICTIMS_CORR;
    }
    zmtp_close(&thief);
    return has_stolen;
}

#define TRIES 10000
#define TRIES_AT_ONCE 5

static int64_t
theft(void)
{
    static const char id[] = "victim-1";
    struct zmtp victim;
    int stolen = 0;

    open_as(&victim, VICTIM, id, sizeof id - 1);
    ck_assert(zmtp_login(&victim));
    zmtp_join(&victim, MR_ROLE_CLIENT, NULL);
    for (int i = 0; i < TRIES / TRIES_AT_ONCE; i++) {
        uint8_t given[5] = {0};

        randombytes_buf(given + 1, 4);
        stolen +=
            i % 2 ? steal_five(given, sizeof given, &victim, VICTIMS_CORR + (uint64_t)i)
                  : steal_five(id, sizeof id - 1, &victim, VICTIMS_CORR + (uint64_t)i);
    }
    zmtp_close(&victim);
    printf("%-46s %d tries, %d replies of the victim received\n", "", TRIES, stolen);
    ck_assert_int_eq(stolen, 0);
    return TRIES / TRIES_AT_ONCE / 2;
}

/* The victim's connection is gone, its session is not yet: the address is free, the identity is
 * not. */
static int64_t
theft_of_the_absent(void)
{
    static const char id[] = "victim-2";
    struct zmtp victim, thief;

    open_as(&victim, VICTIM, id, sizeof id - 1);
    ck_assert(zmtp_login(&victim));
    zmtp_join(&victim, MR_ROLE_CLIENT, NULL);
    zmtp_close(&victim);
    for (bool is_in = false; !is_in;) {
        open_as(&thief, FRONT, id, sizeof id - 1);
        ck_assert(zmtp_login(&thief));
        ask(&thief, 1);
        /* Before the old connection is forgotten libzmq lets nobody have its id. */
        is_in = attack_stat("identity_thefts") > 0 || zmtp_hears_any(&thief, 50);
        zmtp_close(&thief);
    }
    return 1;
}

/* ---- job ids -------------------------------------------------------------------------------------------- */

#define IDS 100000
#define CHUNK 4000
#define ROUNDS 5

static struct mr_uuid ids[2][IDS]; /* random, colliding */

/* Ids of the last hours whose sum of 33^k * byte is the same: one bucket for Bernstein's hash. Two
 * bytes a and b side by side may become a - 1 and b + 33. And their last bits are the same. */
static uint32_t
make_colliding(int64_t now_ms)
{
    struct mr_uuid id;
    uint32_t n = 0;
    int64_t from_ms = now_ms - 20 * INT64_C(3600000);

    memset(&id, 0, sizeof id);
    for (int64_t at = from_ms; n < IDS && at < now_ms; at++) {
        uint32_t low = (uint32_t)at & 0xffffff;

        if ((at >> 24) != (from_ms >> 24) + 1 ||
            (low >> 16) * 1089 + (low >> 8 & 0xff) * 33 + (low & 0xff) != 140000)
            continue;
        for (uint32_t i = 0; n < IDS && i < 7 * 7 * 7 * 7; i++) {
            uint32_t a = i % 7, b = i / 7 % 7, c = i / 49 % 7, d = i / 343;

            for (int k = 0; k < 6; k++)
                id.b[k] = (uint8_t)(at >> (40 - 8 * k));
            id.b[6] = (uint8_t)(0x70 | (7 - a));
            id.b[7] = (uint8_t)(33 * a);
            id.b[8] = 0x80;
            id.b[9] = (uint8_t)(7 - b);
            id.b[10] = (uint8_t)(33 * b);
            id.b[11] = (uint8_t)(7 - c);
            id.b[12] = (uint8_t)(33 * c);
            id.b[13] = (uint8_t)(7 - d);
            id.b[14] = (uint8_t)(33 * d);
            ids[1][n++] = id;
        }
    }
    return n;
}

static void
submit_chunk(struct zmtp *z, const struct mr_uuid *chunk)
{
    size_t mark = mr_put_submit_open(&z->wr, 1, mr_span_str(MR_QUEUE_DEFAULT), 0);
    struct mr_ack ack;

    for (int i = 0; i < CHUNK; i++) {
        struct mr_job_new job = {.id = chunk[i],
            .kind = mr_span_str("attack.never"),
            .payload = mr_span("\xc0", 1),
            .priority = MR_PRIORITY_DEFAULT,
            .delay_ms = 3600000};

        mr_put_submit_job(&z->wr, &job);
    }
    mr_put_submit_close(&z->wr, mark, CHUNK);
    zmtp_say(z);
    zmtp_expect(z, MR_ACK);
    ck_assert_int_eq(mr_get_ack(&z->msg, &ack), MR_OK);
    ck_assert_uint_eq(ack.count, CHUNK);
    ck_assert_uint_eq(ack.verdicts, 0);
}

static int64_t
colliding_ids(void)
{
    int64_t took_us[2] = {0, 0};
    struct zmtp z;

    ck_assert_uint_eq(make_colliding(mr_clock_now().wall_us / 1000), IDS);
    for (int i = 0; i < IDS; i++)
        ids[0][i] = mr_uuid_new(mr_clock_now().wall_us);
    attack_join(&z, FRONT, MR_ROLE_CLIENT, NULL);
    /* In turn, so that whatever else goes on disturbs both. */
    for (int at = 0; at < IDS; at += CHUNK) {
        for (int of = 0; of < 2; of++) {
            int64_t began_us = mr_clock_now().mono_us;

            submit_chunk(&z, &ids[of][at]);
            took_us[of] += mr_clock_now().mono_us - began_us;
        }
    }
    zmtp_close(&z);
    printf("%-46s %.2f times as long as random ones\n", "",
        (double)took_us[1] / (double)took_us[0]);
    ck_assert_int_lt(took_us[1], 2 * took_us[0]);
    return 2 * IDS;
}

const struct attack attacks_on_ids[] = {
    {"identity theft by routing id, 10,000 tries", "nothing comes; closed", "claimed_out",
        NULL, theft, 64},
    {"... of a victim that has just left", "dropped", "identity_thefts", NULL,
        theft_of_the_absent, 0},
    {"100,000 job ids that collide", "none is needed", "submitted", NULL, colliding_ids,
        192},
    {NULL, NULL, NULL, NULL, NULL, 0},
};
