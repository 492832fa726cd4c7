/*
 * ZMTP 3.1 over TCP without libzmq: so that what a well-behaved library never sends can be sent.
 * NULL and CURVE as client; every step is a call of its own, to be left out or sent wrong. Calls
 * that say they fail return false when the other side has closed, or says nothing for
 * ZMTP_WAIT_MS; the rest fail the test. One thread.
 */
#ifndef MR_TESTS_ATTACKER_ZMTP_H
#define MR_TESTS_ATTACKER_ZMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/wire/msg.h"

#define ZMTP_WAIT_MS 10000
#define ZMTP_GREETING_BYTES 64
#define ZMTP_KEY_BYTES 32
#define ZMTP_METADATA_MAX 4096

enum { ZMTP_MORE = 1, ZMTP_LARGE = 2, ZMTP_COMMAND = 4 };

/* Who somebody is, and who he believes the broker to be. All 0: plain. */
struct zmtp_keys {
    uint8_t public[ZMTP_KEY_BYTES], secret[ZMTP_KEY_BYTES], server[ZMTP_KEY_BYTES];
};

struct zmtp {
    int fd;
    const struct zmtp_keys *keys;
    uint8_t mine_public[ZMTP_KEY_BYTES], mine_secret[ZMTP_KEY_BYTES]; /* short-term */
    uint8_t theirs[ZMTP_KEY_BYTES];
    uint8_t cookie[96];
    uint8_t shared[ZMTP_KEY_BYTES];
    uint64_t nonce;
    uint8_t metadata[ZMTP_METADATA_MAX];
    size_t metadata_n;
    uint8_t *record; /* what is sent, if somebody wants to know; NULL */
    size_t record_n, record_max;
    uint8_t bytes[64 * 1024]; /* of the message that was received last */
    struct mr_msg msg;
    struct mr_wr wr;         /* for messages to be sent */
    struct mr_uuid instance; /* for HELLO */
};

/* Connected, nothing said. `keys` outlives it; NULL: NULL mechanism. */
void zmtp_open(struct zmtp *z, const char *endpoint, const struct zmtp_keys *keys);
/* False: nobody listens there (any more); to be closed all the same. */
bool zmtp_try_to_open(struct zmtp *z, const char *endpoint, const struct zmtp_keys *keys);
void zmtp_close(struct zmtp *z);
/* A socket that is connected, or -1: for those of whom there are many. */
int zmtp_connect(const char *endpoint);
bool zmtp_write_to(int fd, const void *bytes, size_t n);

/* ---- bytes. False: they cannot be sent any more. */
bool zmtp_write(struct zmtp *z, const void *bytes, size_t n);
/* How many of n came before the other side closed or was silent too long. */
size_t zmtp_read(struct zmtp *z, void *bytes, size_t n);
/* The other side closes, whatever it says before; false: it does not within wait_ms. */
bool zmtp_is_closed_within(struct zmtp *z, int wait_ms);

/* ---- frames */
size_t zmtp_header(uint8_t out[9], int flags, uint64_t n);
bool zmtp_send_frame(struct zmtp *z, int flags, const void *bytes, size_t n);
/* Its length; -1: none came, or it is larger than `room`. */
long zmtp_receive_frame(struct zmtp *z, void *bytes, size_t room);

/* ---- login, step by step; each false when it is refused */
void zmtp_greeting(uint8_t out[ZMTP_GREETING_BYTES], const char *mechanism, int minor);
bool zmtp_greet(struct zmtp *z, const char *mechanism);
void zmtp_property(struct zmtp *z, const char *name, const void *value, size_t n);
bool zmtp_ready(struct zmtp *z); /* NULL: both directions */
size_t zmtp_write_hello(struct zmtp *z, uint8_t out[200]);
bool zmtp_hello(struct zmtp *z); /* CURVE: HELLO, and WELCOME comes */
bool zmtp_send_initiate(struct zmtp *z);
bool zmtp_initiate(struct zmtp *z); /* CURVE: INITIATE, and READY comes */
/* All of it, with the properties set so far. */
bool zmtp_login(struct zmtp *z);
void zmtp_login_as(struct zmtp *z, const char *endpoint, const struct zmtp_keys *keys);

/* ---- messages of ours, after the login */
/* One frame, encrypted if need be. */
bool zmtp_say_frame(struct zmtp *z, int flags, const void *bytes, size_t n);
/* What is in z->wr, which is empty then. */
void zmtp_say(struct zmtp *z);
bool zmtp_try_to_say(struct zmtp *z);
/* The next message, in z->msg; false: none within wait_ms. */
bool zmtp_hears_any(struct zmtp *z, int wait_ms);
/* ... that is no PING. */
bool zmtp_hears(struct zmtp *z, int wait_ms);
void zmtp_expect_any(struct zmtp *z);
void zmtp_expect(struct zmtp *z, enum mr_verb verb);
void zmtp_expect_error(struct zmtp *z, enum mr_status code);
/* HELLO and WELCOME. */
void zmtp_join(struct zmtp *z, enum mr_role role, const char *kind);
void zmtp_put_hello(struct zmtp *z, enum mr_role role, const char *kind);
void zmtp_say_hello(struct zmtp *z, enum mr_role role, const char *kind);

#endif
