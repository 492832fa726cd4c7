/*
 * Who has no key, or never gets so far as to show one. What is refused here costs the broker no
 * more than the connection.
 */
#include "tests/attacker/attack.h"

#include "broker/door.h"
#include "schemas/wire/frames.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLOSED_MS 4000 /* less than what it has for its login */
#define LOGIN_LIMIT_MS 15000
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *
side_of(size_t i)
{
    return i % 2 ? target.back : target.front;
}

static void
must_be_closed(struct zmtp *z, int within_ms)
{
    ck_assert_msg(zmtp_is_closed_within(z, within_ms), "the broker does not close");
    zmtp_close(z);
}

/* ---- greetings -------------------------------------------------------------------------------------- */

static int64_t
not_zmtp(void)
{
    static const struct {
        const char *bytes;
        size_t n;
    } says[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11}, /* TLS */
        {"SSH-2.0-OpenSSH_9.2\r\n", 21},
        {"\0\0\0\x08\x04\xd2\x16\x2f", 8}, /* PostgreSQL: SSLRequest */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
    };
    struct zmtp z;

    for (size_t i = 0; i < 2 * COUNT(says); i++) {
        zmtp_open(&z, side_of(i), NULL);
        (void)zmtp_write(&z, says[i / 2].bytes, says[i / 2].n);
        /* The last begins like ZMTP and then says nothing more. */
        (void)zmtp_write(&z,
            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            60);
        must_be_closed(&z, CLOSED_MS);
    }
    return 2 * COUNT(says);
}

/* They have no login: whoever spoke one would be in. */
static int64_t
old_zmtp(void)
{
    static const struct {
        const char *bytes;
        size_t n;
    } says[] = {
        {"\1\0", 2},                                       /* 1.0: an empty routing id */
        {"\6\0abcde", 7},                                  /* 1.0: one of its own */
        {"\xff\0\0\0\0\0\0\0\1\x7f\0\5", 12},              /* 1.0 in the form of 2.0 */
        {"\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0\0\5hello", 21}, /* 2.0 */
    };
    struct zmtp z;

    for (size_t i = 0; i < 2 * COUNT(says); i++) {
        zmtp_open(&z, side_of(i), NULL);
        (void)zmtp_write(&z, says[i / 2].bytes, says[i / 2].n);
        must_be_closed(&z, CLOSED_MS);
    }
    return 2 * COUNT(says);
}

static int64_t
downgrade(void)
{
    static const char *const mechanisms[] = {
        "NULL", "PLAIN", "GSSAPI", "CURVE\1", "curve", "ABCDEFGHIJKLMNOPQRST"};
    struct zmtp z;

    for (size_t i = 0; i < 2 * COUNT(mechanisms); i++) {
        zmtp_open(&z, side_of(i), NULL);
        (void)zmtp_greet(&z, mechanisms[i / 2]);
        if (i / 2 == 0)
            ck_assert(!zmtp_ready(&z));
        if (i / 2 == 1)
            (void)zmtp_send_frame(&z, ZMTP_COMMAND, "\5HELLO\5admin\5admin", 18);
        must_be_closed(&z, CLOSED_MS);
    }
    return 2 * COUNT(mechanisms);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static int64_t
no_key(void)
{
    enum { TRIES = 20 };
    struct zmtp z;

    for (size_t i = 0; i < TRIES; i++) {
        zmtp_open(&z, side_of(i), &target.keys[NOBODY]);
        ck_assert_msg(!zmtp_login(&z), "an unknown key got in");
        ck_assert_mem_eq(z.bytes,
            "\5ERROR\3"
            "400",
            10);
        zmtp_close(&z);
    }
    return TRIES;
}

/* A known key in its hand, but not the secret half; or another broker in mind. */
static int64_t
wrong_key(void)
{
    struct zmtp_keys borrowed = target.keys[FRONT], lost = target.keys[FRONT];
    struct zmtp z;

    borrowed.secret[3] ^= 1;
    lost.server[3] ^= 1;
    for (size_t i = 0; i < 4; i++) {
        zmtp_open(&z, side_of(i), i < 2 ? &borrowed : &lost);
        ck_assert_msg(!zmtp_login(&z), "a wrong key got in");
        must_be_closed(&z, CLOSED_MS);
    }
    return 4;
}

/* Every property that there is room for, before anybody has looked at the key. */
static int64_t
many_properties(void)
{
    enum { TRIES = 50 };
    char name[3] = "aa";
    struct zmtp z;

    for (size_t i = 0; i < TRIES; i++) {
        zmtp_open(&z, side_of(i), &target.keys[NOBODY]);
        for (int p = 0; z.metadata_n < 1800; p++) {
            name[0] = (char)('a' + p % 26);
            name[1] = (char)('a' + p / 26);
            zmtp_property(&z, name, "", 0);
        }
        ck_assert(!zmtp_login(&z));
        ck_assert_mem_eq(z.bytes,
            "\5ERROR\3"
            "400",
            10);
        zmtp_close(&z);
    }
    return TRIES;
}

/* What a good login sent, byte for byte, once more: the broker's half is another. */
static int64_t
replay(void)
{
    static uint8_t record[16384];
    struct zmtp z;
    size_t n;

    for (size_t i = 0; i < 4; i++) {
        zmtp_open(&z, side_of(i), &target.keys[i % 2 ? WORKER : FRONT]);
        z.record = record;
        z.record_max = sizeof record;
        ck_assert(zmtp_login(&z));
        zmtp_say_hello(&z, i % 2 ? MR_ROLE_WORKER : MR_ROLE_CLIENT, NULL);
        n = z.record_n;
        zmtp_close(&z);
        zmtp_open(&z, side_of(i), &target.keys[NOBODY]);
        (void)zmtp_write(&z, record, n);
        must_be_closed(&z, CLOSED_MS);
        /* At the pace of the original, each step after the broker's. */
        zmtp_open(&z, side_of(i), &target.keys[NOBODY]);
        ck_assert(zmtp_write(&z, record, ZMTP_GREETING_BYTES));
        ck_assert_uint_eq(
            zmtp_read(&z, z.bytes, ZMTP_GREETING_BYTES), ZMTP_GREETING_BYTES);
        ck_assert(zmtp_write(&z, record + ZMTP_GREETING_BYTES, 202));
        ck_assert_int_eq(zmtp_receive_frame(&z, z.bytes, sizeof z.bytes), 168);
        (void)zmtp_write(
            &z, record + ZMTP_GREETING_BYTES + 202, n - ZMTP_GREETING_BYTES - 202);
        must_be_closed(&z, CLOSED_MS);
    }
    return 8;
}

/* Steps of the login left out, twice, or in another order. */
static int64_t
out_of_order(void)
{
    uint8_t hello[256];
    struct zmtp z;

    for (size_t i = 0; i < 10; i++) {
        zmtp_open(&z, side_of(i), &target.keys[FRONT]);
        ck_assert(zmtp_greet(&z, "CURVE"));
        if (i / 2 == 0)
            (void)zmtp_send_frame(&z, 0, "\xdc\0\1", 3); /* a message */
        if (i / 2 == 1)
            (void)zmtp_send_initiate(&z);
        if (i / 2 == 2 || i / 2 == 3)
            ck_assert(zmtp_hello(&z));
        if (i / 2 == 2)
            (void)zmtp_send_frame(&z, ZMTP_COMMAND, hello, zmtp_write_hello(&z, hello));
        if (i / 2 == 3)
            (void)zmtp_say_frame(&z, 0, "\xdc\0\1", 3);
        if (i / 2 == 4)
            (void)zmtp_send_frame(&z, ZMTP_COMMAND, "\4PING\0\1", 7);
        must_be_closed(&z, CLOSED_MS);
    }
    return 10;
}

/* ---- sizes -------------------------------------------------------------------------------------------- */

/* A length is enough: what it announces is not waited for. */
static int64_t
oversized(void)
{
    static const uint64_t sizes[] = {
        MR_WIRE_FRAME_BYTES_MAX + MR_WIRE_FRAME_BYTES_SPARE + 1, MR_MESSAGE_BYTES_MAX,
        UINT64_C(1) << 31, UINT64_C(1) << 63, UINT64_MAX};
    uint8_t head[9];
    struct zmtp z;

    for (size_t i = 0; i < 4 * COUNT(sizes); i++) {
        size_t n = zmtp_header(head, i & 1 ? ZMTP_COMMAND : 0, sizes[i / 4]);

        zmtp_open(&z, side_of(i / 2), &target.keys[FRONT]);
        ck_assert(zmtp_greet(&z, "CURVE"));
        ck_assert(zmtp_write(&z, head, n));
        must_be_closed(&z, CLOSED_MS);
    }
    return 4 * COUNT(sizes);
}

/* ---- time -------------------------------------------------------------------------------------------- */

/* A frame of 200 bytes, but for the last. */
static size_t
write_most_of_hello(struct zmtp *z, uint8_t out[256])
{
    uint8_t hello[256];
    size_t n = zmtp_header(out, ZMTP_COMMAND, 200);

    (void)zmtp_write_hello(z, hello);
    memcpy(out + n, hello, 199);
    return n + 199;
}

/* Everything up to some point of the login, and then nothing. */
enum { STEPS = 6 };
static struct zmtp half[2 * STEPS];

static void
begin_half_open(void)
{
    uint8_t hello[256];

    for (size_t i = 0; i < COUNT(half); i++) {
        zmtp_open(&half[i], side_of(i), &target.keys[FRONT]);
        if (i / 2 == 1)
            ck_assert(zmtp_write(&half[i], "\xff", 1));
        if (i / 2 == 2)
            ck_assert(zmtp_write(&half[i], "\xff\0\0\0\0\0\0\0\0\x7f\3\1CURVE", 17));
        if (i / 2 >= 3)
            ck_assert(zmtp_greet(&half[i], "CURVE"));
        if (i / 2 == 4)
            ck_assert(zmtp_write(&half[i], hello, write_most_of_hello(&half[i], hello)));
        if (i / 2 == 5)
            ck_assert(zmtp_hello(&half[i]));
    }
}

static int64_t
half_open(void)
{
    for (size_t i = 0; i < COUNT(half); i++)
        must_be_closed(&half[i], LOGIN_LIMIT_MS);
    return COUNT(half);
}

/* A good login, at a byte every 50 ms: that there is something all the time does not help. */
static int64_t
slow_bytes(void)
{
    enum { PEERS = 8, PACE_MS = 50 };
    static struct zmtp z[PEERS];
    int64_t until_ms = rig_now_ms() + LOGIN_LIMIT_MS;
    uint8_t bytes[ZMTP_GREETING_BYTES + 2 + 200];
    int left = PEERS;

    for (size_t i = 0; i < PEERS; i++)
        zmtp_open(&z[i], side_of(i), &target.keys[FRONT]);
    zmtp_greeting(bytes, "CURVE", 1);
    (void)zmtp_header(bytes + ZMTP_GREETING_BYTES, ZMTP_COMMAND, 200);
    (void)zmtp_write_hello(&z[0], bytes + ZMTP_GREETING_BYTES + 2);
    for (size_t at = 0; left; at++) {
        ck_assert_int_lt(rig_now_ms(), until_ms);
        ck_assert_uint_lt(at, sizeof bytes); /* all of it took longer than it may */
        for (size_t i = 0; i < PEERS; i++) {
            if (z[i].fd >= 0 && !zmtp_write(&z[i], bytes + at, 1)) {
                zmtp_close(&z[i]);
                left--;
            }
        }
        (void)poll(NULL, 0, PACE_MS);
    }
    return PEERS;
}

/* Logged in, and not a word. */
static struct zmtp mute[8];

static void
begin_silent(void)
{
    for (size_t i = 0; i < COUNT(mute); i++)
        attack_login(&mute[i], i % 2 ? WORKER : FRONT, side_of(i));
}

static int64_t
silent(void)
{
    for (size_t i = 0; i < COUNT(mute); i++)
        must_be_closed(&mute[i], LOGIN_LIMIT_MS);
    return COUNT(mute);
}

/* ---- many -------------------------------------------------------------------------------------------- */

#define CROWD 2000
#define STRANGER_BYTES_MAX (64 << 10)

/* Each as much as it can make the broker keep: the largest frame, all but its last byte. */
static int64_t
crowd(void)
{
    static int fds[CROWD];
    uint8_t bytes[ZMTP_GREETING_BYTES + 9 + MR_WIRE_FRAME_BYTES_MAX] = {0};
    size_t n = MR_WIRE_FRAME_BYTES_MAX + MR_WIRE_FRAME_BYTES_SPARE;
    int64_t before = attack_resident(), most = 0, unheard = 0;

    zmtp_greeting(bytes, "CURVE", 1);
    (void)zmtp_header(bytes + ZMTP_GREETING_BYTES, ZMTP_COMMAND, n);
    for (size_t i = 0; i < CROWD; i++) {
        fds[i] = zmtp_connect(side_of(i));
        ck_assert_int_ge(fds[i], 0);
        (void)zmtp_write_to(fds[i], bytes, sizeof bytes);
        if (i % 200 == 199) {
            int64_t now = attack_resident(), n_now = attack_stat("unheard");

            most = now > most ? now : most;
            unheard = n_now > unheard ? n_now : unheard;
            attack_newcomer_is_served();
        }
    }
    printf("%-46s %lld of them at once, %lld bytes for each\n", "", (long long)unheard,
        (long long)((most - before) / unheard));
    ck_assert_int_le(unheard, MR_STRANGERS_MAX);
    ck_assert_int_le((most - before) / unheard, STRANGER_BYTES_MAX);
    for (size_t i = 0; i < CROWD; i++)
        (void)close(fds[i]);
    return 1; /* as many as there was no time to cut off */
}

const struct attack attacks_of_strangers[] = {
    {"not ZMTP at all", "closed", "logins_refused", NULL, not_zmtp, 0},
    {"ZMTP 1.0 and 2.0", "closed", "logins_refused", NULL, old_zmtp, 0},
    {"downgrade to NULL, PLAIN, GSSAPI", "closed", "logins_refused", NULL, downgrade, 0},
    {"no key", "ERROR 400", "keys_refused", NULL, no_key, 0},
    {"wrong key", "closed", "logins_refused", NULL, wrong_key, 0},
    {"replayed handshake", "closed", "logins_refused", NULL, replay, 0},
    {"steps of the login out of order", "closed", "logins_refused", NULL, out_of_order,
        0},
    {"hundreds of properties", "ERROR 400", "keys_refused", NULL, many_properties, 0},
    {"frames of 2^31 and 2^63 bytes", "closed", "logins_refused", NULL, oversized, 0},
    {"half-open at each step", "cut off", "logins_timed_out", begin_half_open, half_open,
        0},
    {"logged in, then silent", "closed", "silent_out", begin_silent, silent, 0},
    {"slow bytes", "cut off", "logins_timed_out", NULL, slow_bytes, 0},
    {"2,000 strangers", "the oldest is closed", "crowded_out", NULL, crowd, 64},
    {NULL, NULL, NULL, NULL, NULL, 0},
};
