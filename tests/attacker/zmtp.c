#include "tests/attacker/zmtp.h"

#include "schemas/base/clock.h"
#include "schemas/wire/frames.h"

#include <check.h>
#include <sodium.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- bytes ---------------------------------------------------------------------------------------- */

int
zmtp_connect(const char *endpoint)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

void
zmtp_open(struct zmtp *z, const char *endpoint, const struct zmtp_keys *keys)
{
    ck_assert_msg(zmtp_try_to_open(z, endpoint, keys), "nobody listens");
}

bool
zmtp_try_to_open(struct zmtp *z, const char *endpoint, const struct zmtp_keys *keys)
{
    memset(z, 0, sizeof *z);
    z->keys = keys;
    z->instance = mr_uuid_new(mr_clock_now().wall_us);
    z->fd = zmtp_connect(endpoint);
    ck_assert_int_ge(sodium_init(), 0);
    crypto_box_keypair(z->mine_public, z->mine_secret);
    if (keys) /* until the broker has said its own */
        memcpy(z->theirs, keys->server, sizeof z->theirs);
    mr_wr_init(&z->wr, MR_MESSAGE_BYTES_MAX);
    zmtp_property(z, "Socket-Type", "DEALER", 6);
    return z->fd >= 0;
}

void
zmtp_close(struct zmtp *z)
{
    if (z->fd >= 0)
        (void)close(z->fd);
    z->fd = -1;
    mr_wr_fini(&z->wr);
}

static bool
is_ready(int fd, short events, int wait_ms)
{
    struct pollfd one = {.fd = fd, .events = events};
    int rc;

    do
        rc = poll(&one, 1, wait_ms);
    while (rc < 0 && errno == EINTR);
    return rc > 0;
}

bool
zmtp_write_to(int fd, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EAGAIN && is_ready(fd, POLLOUT, ZMTP_WAIT_MS))
            continue;
        if (sent < 0 && errno != EINTR)
            return false;
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
    }
    return true;
}

bool
zmtp_write(struct zmtp *z, const void *bytes, size_t n)
{
    if (z->record) {
        ck_assert_uint_le(z->record_n + n, z->record_max);
        memcpy(z->record + z->record_n, bytes, n);
        z->record_n += n;
    }
    return zmtp_write_to(z->fd, bytes, n);
}

size_t
zmtp_read(struct zmtp *z, void *bytes, size_t n)
{
    size_t got = 0;

    while (got < n && is_ready(z->fd, POLLIN, ZMTP_WAIT_MS)) {
        ssize_t rc = recv(z->fd, (uint8_t *)bytes + got, n - got, 0);

        if (rc == 0 || (rc < 0 && errno != EINTR))
            break;
        got += rc > 0 ? (size_t)rc : 0;
    }
    return got;
}

bool
zmtp_is_closed_within(struct zmtp *z, int wait_ms)
{
    int64_t until_us = mr_clock_now().mono_us + wait_ms * INT64_C(1000), left_us;
    uint8_t trash[4096];

    while ((left_us = until_us - mr_clock_now().mono_us) > 0) {
        ssize_t rc;

        if (!is_ready(z->fd, POLLIN, (int)(left_us / 1000) + 1))
            return false;
        rc = recv(z->fd, trash, sizeof trash, 0);
        if (rc == 0 || (rc < 0 && errno != EINTR))
            return true;
    }
    return false;
}

/* ---- frames --------------------------------------------------------------------------------------- */

size_t
zmtp_header(uint8_t out[9], int flags, uint64_t n)
{
    if (n <= UINT8_MAX && !(flags & ZMTP_LARGE)) {
        out[0] = (uint8_t)flags;
        out[1] = (uint8_t)n;
        return 2;
    }
    out[0] = (uint8_t)(flags | ZMTP_LARGE);
    for (int i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)(n >> (56 - 8 * i));
    return 9;
}

bool
zmtp_send_frame(struct zmtp *z, int flags, const void *bytes, size_t n)
{
    uint8_t frame[9 + MR_WIRE_FRAME_BYTES_MAX + MR_WIRE_FRAME_BYTES_SPARE];
    size_t header_n = zmtp_header(frame, flags, n);

    if (n > sizeof frame - 9)
        return zmtp_write(z, frame, header_n) && zmtp_write(z, bytes, n);
    if (n)
        memcpy(frame + header_n, bytes, n);
    return zmtp_write(z, frame, header_n + n);
}

long
zmtp_receive_frame(struct zmtp *z, void *bytes, size_t room)
{
    uint8_t head[9];
    uint64_t n = 0;
    size_t length_n;

    if (zmtp_read(z, head, 1) != 1)
        return -1;
    length_n = head[0] & ZMTP_LARGE ? 8 : 1;
    if (zmtp_read(z, head + 1, length_n) != length_n)
        return -1;
    for (size_t i = 0; i < length_n; i++)
        n = n << 8 | head[1 + i];
    return n <= room && zmtp_read(z, bytes, (size_t)n) == n ? (long)n : -1;
}

/* ---- login ---------------------------------------------------------------------------------------- */

void
zmtp_greeting(uint8_t out[ZMTP_GREETING_BYTES], const char *mechanism, int minor)
{
    memset(out, 0, ZMTP_GREETING_BYTES);
    out[0] = 0xff;
    out[9] = 0x7f;
    out[10] = 3;
    out[11] = (uint8_t)minor;
    memcpy(out + 12, mechanism, strlen(mechanism));
}

bool
zmtp_greet(struct zmtp *z, const char *mechanism)
{
    uint8_t greeting[ZMTP_GREETING_BYTES];

    zmtp_greeting(greeting, mechanism, 1);
    return zmtp_write(z, greeting, sizeof greeting) &&
           zmtp_read(z, greeting, sizeof greeting) == sizeof greeting;
}

void
zmtp_property(struct zmtp *z, const char *name, const void *value, size_t n)
{
    uint8_t *p = z->metadata + z->metadata_n;
    size_t name_n = strlen(name);

    ck_assert_uint_le(z->metadata_n + 1 + name_n + 4 + n, sizeof z->metadata);
    *p++ = (uint8_t)name_n;
    memcpy(p, name, name_n);
    p += name_n;
    for (int i = 0; i < 4; i++)
        *p++ = (uint8_t)(n >> (24 - 8 * i));
    memcpy(p, value, n);
    z->metadata_n += 1 + name_n + 4 + n;
}

bool
zmtp_ready(struct zmtp *z)
{
    uint8_t body[6 + ZMTP_METADATA_MAX];

    memcpy(body, "\5READY", 6);
    memcpy(body + 6, z->metadata, z->metadata_n);
    return zmtp_send_frame(z, ZMTP_COMMAND, body, 6 + z->metadata_n) &&
           zmtp_receive_frame(z, z->bytes, sizeof z->bytes) >= 6 &&
           memcmp(z->bytes, "\5READY", 6) == 0;
}

static void
put_nonce(uint8_t out[crypto_box_NONCEBYTES], const char *prefix, uint64_t number)
{
    memcpy(out, prefix, 16);
    for (int i = 0; i < 8; i++)
        out[16 + i] = (uint8_t)(number >> (56 - 8 * i));
}

size_t
zmtp_write_hello(struct zmtp *z, uint8_t out[200])
{
    static const uint8_t zeros[64];
    uint8_t nonce[crypto_box_NONCEBYTES];

    memset(out, 0, 200);
    memcpy(out, "\5HELLO\1\0", 8);
    memcpy(out + 80, z->mine_public, ZMTP_KEY_BYTES);
    put_nonce(nonce, "CurveZMQHELLO---", ++z->nonce);
    memcpy(out + 112, nonce + 16, 8);
    ck_assert_int_eq(crypto_box_easy(out + 120, zeros, sizeof zeros, nonce,
                         z->keys->server, z->mine_secret),
        0);
    return 200;
}

bool
zmtp_hello(struct zmtp *z)
{
    uint8_t hello[256], plain[128], nonce[crypto_box_NONCEBYTES];
    size_t n = zmtp_write_hello(z, hello);

    if (!zmtp_send_frame(z, ZMTP_COMMAND, hello, n) ||
        zmtp_receive_frame(z, z->bytes, sizeof z->bytes) != 168 ||
        memcmp(z->bytes, "\7WELCOME", 8) != 0)
        return false;
    memcpy(nonce, "WELCOME-", 8);
    memcpy(nonce + 8, z->bytes + 8, 16);
    if (crypto_box_open_easy(
            plain, z->bytes + 24, 144, nonce, z->keys->server, z->mine_secret) != 0)
        return false;
    memcpy(z->theirs, plain, ZMTP_KEY_BYTES);
    memcpy(z->cookie, plain + ZMTP_KEY_BYTES, sizeof z->cookie);
    return true;
}

bool
zmtp_send_initiate(struct zmtp *z)
{
    uint8_t plain[128 + ZMTP_METADATA_MAX], vouch[64], nonce[crypto_box_NONCEBYTES];
    uint8_t body[113 + crypto_box_MACBYTES + sizeof plain];
    size_t plain_n = 128 + z->metadata_n;

    memcpy(plain, z->keys->public, ZMTP_KEY_BYTES);
    memcpy(nonce, "VOUCH---", 8);
    randombytes_buf(nonce + 8, 16);
    memcpy(plain + 32, nonce + 8, 16);
    memcpy(vouch, z->mine_public, ZMTP_KEY_BYTES);
    memcpy(vouch + 32, z->keys->server, ZMTP_KEY_BYTES);
    ck_assert_int_eq(crypto_box_easy(plain + 48, vouch, sizeof vouch, nonce, z->theirs,
                         z->keys->secret),
        0);
    memcpy(plain + 128, z->metadata, z->metadata_n);
    memcpy(body, "\10INITIATE", 9);
    memcpy(body + 9, z->cookie, sizeof z->cookie);
    put_nonce(nonce, "CurveZMQINITIATE", ++z->nonce);
    memcpy(body + 105, nonce + 16, 8);
    ck_assert_int_eq(
        crypto_box_easy(body + 113, plain, plain_n, nonce, z->theirs, z->mine_secret), 0);
    return zmtp_send_frame(z, ZMTP_COMMAND, body, 113 + crypto_box_MACBYTES + plain_n);
}

bool
zmtp_initiate(struct zmtp *z)
{
    if (!zmtp_send_initiate(z) || zmtp_receive_frame(z, z->bytes, sizeof z->bytes) < 6 ||
        memcmp(z->bytes, "\5READY", 6) != 0)
        return false;
    return crypto_box_beforenm(z->shared, z->theirs, z->mine_secret) == 0;
}

bool
zmtp_login(struct zmtp *z)
{
    if (!z->keys)
        return zmtp_greet(z, "NULL") && zmtp_ready(z);
    return zmtp_greet(z, "CURVE") && zmtp_hello(z) && zmtp_initiate(z);
}

void
zmtp_login_as(struct zmtp *z, const char *endpoint, const struct zmtp_keys *keys)
{
    zmtp_open(z, endpoint, keys);
    ck_assert_msg(zmtp_login(z), "a login with a good key was refused");
}

/* ---- messages ------------------------------------------------------------------------------------- */

bool
zmtp_say_frame(struct zmtp *z, int flags, const void *bytes, size_t n)
{
    uint8_t plain[1 + MR_WIRE_FRAME_BYTES_MAX], nonce[crypto_box_NONCEBYTES];
    uint8_t body[16 + crypto_box_MACBYTES + sizeof plain];

    if (!z->keys)
        return zmtp_send_frame(z, flags, bytes, n);
    ck_assert_uint_le(n, MR_WIRE_FRAME_BYTES_MAX);
    plain[0] = (uint8_t)flags;
    if (n)
        memcpy(plain + 1, bytes, n);
    memcpy(body, "\7MESSAGE", 8);
    put_nonce(nonce, "CurveZMQMESSAGEC", ++z->nonce);
    memcpy(body + 8, nonce + 16, 8);
    ck_assert_int_eq(
        crypto_box_easy_afternm(body + 16, plain, 1 + n, nonce, z->shared), 0);
    return zmtp_send_frame(z, 0, body, 16 + crypto_box_MACBYTES + 1 + n);
}

void
zmtp_say(struct zmtp *z)
{
    ck_assert_msg(zmtp_try_to_say(z), "the broker has closed");
}

bool
zmtp_try_to_say(struct zmtp *z)
{
    size_t sent = 0;
    bool is_sent;

    ck_assert_int_eq(z->wr.status, MR_OK);
    do {
        size_t left = z->wr.n - sent;
        bool has_more = left > MR_WIRE_FRAME_BYTES_MAX;
        size_t n = has_more ? MR_WIRE_FRAME_BYTES_MAX : left;

        is_sent = zmtp_say_frame(z, has_more ? ZMTP_MORE : 0, z->wr.p + sent, n);
        sent += n;
    } while (is_sent && sent < z->wr.n);
    mr_wr_reset(&z->wr);
    return is_sent;
}

/* Length; -1: none. */
static long
hear_frame(struct zmtp *z)
{
    long n = zmtp_receive_frame(z, z->bytes, sizeof z->bytes);
    uint8_t nonce[crypto_box_NONCEBYTES];

    if (!z->keys || n < 0)
        return n;
    if (n < 33 || memcmp(z->bytes, "\7MESSAGE", 8) != 0)
        return -1;
    memcpy(nonce, "CurveZMQMESSAGES", 16);
    memcpy(nonce + 16, z->bytes + 8, 8);
    n -= 16;
    memmove(z->bytes, z->bytes + 16, (size_t)n);
    if (crypto_box_open_easy_afternm(
            z->bytes, z->bytes, (unsigned long long)n, nonce, z->shared) != 0)
        return -1;
    n -= crypto_box_MACBYTES + 1;
    memmove(z->bytes, z->bytes + 1, (size_t)n);
    return n;
}

bool
zmtp_hears_any(struct zmtp *z, int wait_ms)
{
    long n = is_ready(z->fd, POLLIN, wait_ms) ? hear_frame(z) : -1;

    if (n < 0)
        return false;
    ck_assert_int_eq(mr_msg_open(mr_span(z->bytes, (size_t)n), &z->msg), MR_OK);
    return true;
}

bool
zmtp_hears(struct zmtp *z, int wait_ms)
{
    do {
        if (!zmtp_hears_any(z, wait_ms))
            return false;
    } while (z->msg.verb == MR_PING);
    return true;
}

void
zmtp_expect_any(struct zmtp *z)
{
    ck_assert_msg(zmtp_hears(z, ZMTP_WAIT_MS), "no answer came");
}

void
zmtp_expect(struct zmtp *z, enum mr_verb verb)
{
    ck_assert_msg(zmtp_hears(z, ZMTP_WAIT_MS), "no %s came", mr_verb_name(verb));
    ck_assert_msg(z->msg.verb == verb, "%s came instead of %s", mr_verb_name(z->msg.verb),
        mr_verb_name(verb));
}

void
zmtp_expect_error(struct zmtp *z, enum mr_status code)
{
    struct mr_error error;

    zmtp_expect(z, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&z->msg, &error), MR_OK);
    ck_assert_msg(error.code == code, "%s (%.*s) instead of %s",
        mr_status_name(error.code), (int)error.text.n, (const char *)error.text.p,
        mr_status_name(code));
}

void
zmtp_put_hello(struct zmtp *z, enum mr_role role, const char *kind)
{
    struct mr_offer offer = {.kind = mr_span_str(kind)};
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = role,
        .instance = z->instance,
        .name = mr_span_str("attacker"),
        .threads = role == MR_ROLE_WORKER ? 1 : 0,
        .offers = kind ? 1 : 0};

    mr_put_hello(&z->wr, 1, &hello, &offer);
}

void
zmtp_say_hello(struct zmtp *z, enum mr_role role, const char *kind)
{
    zmtp_put_hello(z, role, kind);
    zmtp_say(z);
}

void
zmtp_join(struct zmtp *z, enum mr_role role, const char *kind)
{
    zmtp_say_hello(z, role, kind);
    zmtp_expect(z, MR_WELCOME);
}
