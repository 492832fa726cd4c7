/* Sealed payloads against schemas/wire/vectors/seal (written by another implementation), and all that
 * must not open. Run from the top folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"
#include "schemas/wire/seal.h"

#define VECTORS "schemas/wire/vectors/seal/sealed.txt"
#define ROW_BYTES 8192
#define FILE_BYTES 65536

/* The secret of most vectors, and another one. */
#define SECRET "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SECRET_ID "7096ce09a3ccc02f"
#define OTHER "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed"

static char folder[] = "/tmp/millrace-seal-XXXXXX";
static char path[256];

static const struct mr_seal_job job = {
    {{0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3, 0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07,
        0x39, 0x8f}},
    {(const uint8_t *)"pay.charge", 10}};

static struct mr_seal_ring *
ring_of(const char *text)
{
    struct mr_seal_ring *ring = NULL;
    struct mr_err err;
    enum mr_status status = mr_seal_ring_parse(mr_span_str(text), "text", &ring, &err);

    ck_assert_msg(status == MR_OK, "%s", status ? err.why : "");
    return ring;
}

/* The id of OTHER stands in the vectors. */
static const char *
other_line(void)
{
    static char line[128];
    FILE *in = fopen(VECTORS, "r");
    char row[ROW_BYTES];
    bool is_next = false;

    ck_assert_msg(in != NULL, "run this from the top folder of the project");
    while (fgets(row, sizeof row, in)) {
        if (is_next)
            (void)snprintf(line, sizeof line, "%.16s " OTHER "\n", row + 8);
        is_next = strncmp(row, "secret  " OTHER, 72) == 0;
    }
    fclose(in);
    return line;
}

static struct mr_span
from_hex(const char *hex, uint8_t *into)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++) {
        unsigned byte;

        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        into[i] = (uint8_t)byte;
    }
    return mr_span(into, n);
}

/* Memory that ends with them, so that a sanitizer sees each byte too many. */
static uint8_t *
exact(struct mr_span bytes)
{
    uint8_t *copy = malloc(bytes.n ? bytes.n : 1);

    ck_assert_ptr_nonnull(copy);
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    return copy;
}

static enum mr_status
open_copy(const struct mr_seal_ring *ring, const struct mr_seal_job *bound,
    struct mr_span sealed)
{
    uint8_t *copy = exact(sealed);
    struct mr_span plain;
    enum mr_status status = mr_seal_open(ring, bound, copy, sealed.n, &plain);

    ck_assert(status == MR_OK || plain.n == 0);
    free(copy);
    return status;
}

/* {"id": 11, "cents": 4000}, sealed for `job` by the first key. */
static struct mr_span
sample(const struct mr_seal_ring *ring)
{
    static uint8_t sealed[128], plain[64];
    struct mr_span in = from_hex("82a269640ba563656e7473cd0fa0", plain);

    ck_assert_int_eq(mr_seal(ring, 0, &job, in, sealed), MR_OK);
    return mr_span(sealed, mr_seal_bytes(in.n));
}

/* ---- the vectors --------------------------------------------------------------------------------- */

struct vector {
    char title[64], secret[ROW_BYTES], key[ROW_BYTES], id[ROW_BYTES], kind[ROW_BYTES];
    char plain[ROW_BYTES], sealed[ROW_BYTES];
};

static void
play(const struct vector *v)
{
    static uint8_t plain_bytes[ROW_BYTES], sealed_bytes[ROW_BYTES], out[ROW_BYTES];
    struct mr_span plain = from_hex(v->plain, plain_bytes), opened;
    struct mr_span sealed = from_hex(v->sealed, sealed_bytes);
    struct mr_seal_job bound = {.kind = mr_span_str(v->kind)};
    char line[128], key[MR_SEAL_ID_TEXT];
    struct mr_seal_ring *ring;
    uint8_t *copy;

    (void)from_hex(v->id, bound.id.b);
    (void)snprintf(line, sizeof line, "%.16s %.64s\n", v->key, v->secret);
    ring = ring_of(line);
    ck_assert_msg(mr_seal_bytes(plain.n) == sealed.n, "%s", v->title);
    ck_assert_msg(mr_seal(ring, 0, &bound, plain, out) == MR_OK, "%s", v->title);
    ck_assert_msg(mr_span_eq(mr_span(out, sealed.n), sealed), "%s: sealed to other bytes",
        v->title);
    ck_assert(mr_seal_is_sealed(sealed) && mr_seal_key_of(sealed, key));
    ck_assert_str_eq(key, v->key);
    ck_assert_int_ne(mr_pack_scan(sealed, MR_PAYLOAD_DEPTH_MAX), MR_OK);
    copy = exact(sealed);
    ck_assert_msg(mr_seal_open(ring, &bound, copy, sealed.n, &opened) == MR_OK,
        "%s: does not open", v->title);
    ck_assert(mr_span_eq(opened, plain));
    free(copy);
    mr_seal_ring_destroy(&ring);
}

START_TEST(another_implementation_gives_the_same_bytes)
{
    static struct vector v;
    static const struct {
        const char *name;
        char *into;
    } rows[] = {{"secret  ", v.secret}, {"key     ", v.key}, {"id      ", v.id},
        {"kind    ", v.kind}, {"plain   ", v.plain}, {"in      ", v.sealed}};
    FILE *in = fopen(VECTORS, "r");
    static char row[ROW_BYTES];
    unsigned played = 0;

    ck_assert_msg(in != NULL, "run this from the top folder of the project");
    while (fgets(row, sizeof row, in)) {
        row[strcspn(row, "\n")] = '\0';
        if (row[0] == '#')
            (void)snprintf(v.title, sizeof v.title, "%.60s", row + 2);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            if (strncmp(row, rows[i].name, 8) == 0)
                (void)snprintf(rows[i].into, ROW_BYTES, "%s", row + 8);
        if (strncmp(row, "in ", 3) == 0) {
            play(&v);
            played++;
        }
    }
    fclose(in);
    ck_assert_uint_ge(played, 10);
}
END_TEST

/* ---- what must not open ---------------------------------------------------------------------------- */

START_TEST(no_byte_can_be_changed)
{
    struct mr_seal_ring *ring = ring_of(SECRET_ID " " SECRET);
    struct mr_span sealed = sample(ring);
    uint8_t *copy = exact(sealed);

    ck_assert_int_eq(open_copy(ring, &job, sealed), MR_OK);
    for (size_t i = 0; i < sealed.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            enum mr_status status;

            copy[i] ^= (uint8_t)(1 << bit);
            status = open_copy(ring, &job, mr_span(copy, sealed.n));
            /* Head and version: no form; id of the key: no key; all the rest: it does not open. */
            ck_assert_int_eq(status, i < 4    ? MR_MALFORMED
                                     : i < 12 ? MR_NOT_FOUND
                                              : MR_DENIED);
            /* What does not look sealed any more is no other value, either. */
            if (i < 3)
                ck_assert_int_ne(mr_pack_scan(mr_span(copy, sealed.n), 32), MR_OK);
            copy[i] ^= (uint8_t)(1 << bit);
        }
    free(copy);
    mr_seal_ring_destroy(&ring);
}
END_TEST

START_TEST(no_part_of_it_opens)
{
    struct mr_seal_ring *ring = ring_of(SECRET_ID " " SECRET);
    struct mr_span sealed = sample(ring);
    uint8_t longer[256] = {0}, plain[16];
    struct mr_span empty;

    for (size_t n = 0; n < sealed.n; n++)
        ck_assert_int_eq(open_copy(ring, &job, mr_span(sealed.p, n)), MR_MALFORMED);
    memcpy(longer, sealed.p, sealed.n);
    ck_assert_int_eq(open_copy(ring, &job, mr_span(longer, sealed.n + 1)), MR_MALFORMED);
    /* The length in the head made to fit what is left of the tag. */
    for (size_t n = sealed.n - 1; n > 3; n--) {
        longer[1] = (uint8_t)(n - 3);
        ck_assert_int_eq(open_copy(ring, &job, mr_span(longer, n)),
            n - 3 < 49 ? MR_MALFORMED : MR_DENIED);
    }
    /* A wide head around the same body. */
    longer[0] = 0xc8;
    longer[1] = 0;
    longer[2] = (uint8_t)(sealed.n - 3);
    memcpy(longer + 3, sealed.p + 2, sealed.n - 2);
    ck_assert_int_eq(open_copy(ring, &job, mr_span(longer, sealed.n + 1)), MR_MALFORMED);
    empty = from_hex("c0", plain);
    ck_assert_int_eq(open_copy(ring, &job, empty), MR_MALFORMED);
    ck_assert(!mr_seal_is_sealed(empty) && !mr_seal_is_sealed(MR_SPAN_NONE));
    mr_seal_ring_destroy(&ring);
}
END_TEST

START_TEST(it_opens_for_no_other_job_kind_or_key)
{
    struct mr_seal_ring *ring = ring_of(SECRET_ID " " SECRET);
    struct mr_seal_ring *other = ring_of(other_line());
    struct mr_span sealed = sample(ring);
    static const char *const kinds[] = {
        "pay.refund", "pay.charg", "pay.charge.", "Pay.charge", ""};
    struct mr_seal_job wrong;

    for (size_t i = 0; i < sizeof job.id.b; i++)
        for (int bit = 0; bit < 8; bit++) {
            wrong = job;
            wrong.id.b[i] ^= (uint8_t)(1 << bit);
            ck_assert_int_eq(open_copy(ring, &wrong, sealed), MR_DENIED);
        }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        wrong = job;
        wrong.kind = mr_span_str(kinds[i]);
        ck_assert_int_eq(open_copy(ring, &wrong, sealed), MR_DENIED);
    }
    ck_assert_int_eq(open_copy(other, &job, sealed), MR_NOT_FOUND);
    ck_assert_int_eq(open_copy(NULL, &job, sealed), MR_NOT_FOUND);
    mr_seal_ring_destroy(&ring);
    mr_seal_ring_destroy(&other);
}
END_TEST

/* Two secrets under one id cannot be in rings of ours, so the id in the bytes is changed. */
START_TEST(a_key_under_another_ones_id_opens_nothing)
{
    char both[512], id[MR_SEAL_ID_TEXT];
    struct mr_seal_ring *ring;
    struct mr_span sealed;
    uint8_t forged[128];

    (void)snprintf(both, sizeof both, SECRET_ID " " SECRET "\n%s", other_line());
    ring = ring_of(both);
    sealed = sample(ring);
    memcpy(forged, sealed.p, sealed.n);
    (void)from_hex(mr_seal_ring_id(ring, 1, id), forged + 4);
    ck_assert_int_eq(open_copy(ring, &job, mr_span(forged, sealed.n)), MR_DENIED);
    mr_seal_ring_destroy(&ring);
}
END_TEST

/* ---- what goes in ------------------------------------------------------------------------------------ */

START_TEST(the_same_job_gives_the_same_bytes_and_no_other_does)
{
    struct mr_seal_ring *ring = ring_of(SECRET_ID " " SECRET);
    static const uint8_t a[] = {0x01}, b[] = {0x02};
    struct mr_seal_job next = job;
    uint8_t one[64], two[64];
    size_t n = mr_seal_bytes(1);

    next.id.b[15] ^= 1;
    ck_assert_int_eq(mr_seal(ring, 0, &job, mr_span(a, 1), one), MR_OK);
    ck_assert_int_eq(mr_seal(ring, 0, &job, mr_span(a, 1), two), MR_OK);
    ck_assert_mem_eq(one, two, n);
    /* Another nonce each, or two payloads would be under one stream. */
    ck_assert_int_eq(mr_seal(ring, 0, &job, mr_span(b, 1), two), MR_OK);
    ck_assert_mem_ne(one + 12, two + 12, 24);
    ck_assert_int_eq(mr_seal(ring, 0, &next, mr_span(a, 1), two), MR_OK);
    ck_assert_mem_ne(one + 12, two + 12, 24);
    mr_seal_ring_destroy(&ring);
}
END_TEST

START_TEST(what_is_sealed_keeps_to_the_limit)
{
    struct mr_seal_ring *ring = ring_of(SECRET_ID " " SECRET);
    size_t most = MR_PAYLOAD_BYTES_MAX - MR_SEAL_BYTES_MORE;
    uint8_t *plain = calloc(1, MR_PAYLOAD_BYTES_MAX + 1),
            *out = malloc(MR_PAYLOAD_BYTES_MAX);
    struct mr_seal_job nameless = job;
    struct mr_span opened;

    ck_assert(plain && out);
    ck_assert_uint_eq(mr_seal_bytes(206), 206 + 52);
    ck_assert_uint_eq(mr_seal_bytes(207), 207 + 53);
    ck_assert_uint_eq(mr_seal_bytes(65486), 65486 + 53);
    ck_assert_uint_eq(mr_seal_bytes(65487), 65487 + 55);
    ck_assert_int_eq(mr_seal(ring, 0, &job, mr_span(plain, most), out), MR_OK);
    ck_assert_int_eq(mr_seal_open(ring, &job, out, MR_PAYLOAD_BYTES_MAX, &opened), MR_OK);
    ck_assert(mr_span_eq(opened, mr_span(plain, most)));
    ck_assert_int_eq(mr_seal(ring, 0, &job, mr_span(plain, most + 1), out), MR_TOO_BIG);
    ck_assert_int_eq(
        mr_seal(ring, 0, &job, mr_span(plain, MR_PAYLOAD_BYTES_MAX + 1), out),
        MR_TOO_BIG);
    ck_assert_int_eq(mr_seal(ring, 1, &job, mr_span(plain, 1), out), MR_BAD_ARGUMENT);
    nameless.kind = MR_SPAN_NONE;
    ck_assert_int_eq(
        mr_seal(ring, 0, &nameless, mr_span(plain, 1), out), MR_BAD_ARGUMENT);
    free(plain);
    free(out);
    mr_seal_ring_destroy(&ring);
}
END_TEST

START_TEST(the_next_key_seals_the_same_again)
{
    char both[512], key[MR_SEAL_ID_TEXT], id[MR_SEAL_ID_TEXT];
    struct mr_seal_ring *ring;
    struct mr_span plain;
    struct mr_seal_job wrong = job;
    uint8_t bytes[128], old[128];
    size_t n;

    (void)snprintf(both, sizeof both, SECRET_ID " " SECRET "\n%s", other_line());
    ring = ring_of(both);
    n = sample(ring).n;
    memcpy(bytes, sample(ring).p, n);
    wrong.kind = mr_span_str("x");
    ck_assert_int_eq(mr_seal_again(ring, &wrong, bytes, n), MR_DENIED);
    ck_assert_int_eq(mr_seal_again(ring, &job, bytes, n), MR_OK);
    ck_assert(mr_seal_key_of(mr_span(bytes, n), key));
    ck_assert_str_eq(key, mr_seal_ring_id(ring, 1, id));
    ck_assert_int_eq(
        mr_seal_again(ring, &job, bytes, n), MR_NOT_FOUND); /* the last one */
    memcpy(old, bytes, n);
    ck_assert_int_eq(mr_seal_open(ring, &job, bytes, n, &plain), MR_OK);
    /* As if that key had always been the first. */
    ck_assert_int_eq(mr_seal_ring_raise(ring, 1), MR_OK);
    ck_assert_mem_eq(sample(ring).p, old, n);
    ck_assert_int_eq(mr_seal_again(ring, &job, bytes, 3), MR_MALFORMED);
    mr_seal_ring_destroy(&ring);
}
END_TEST

/* ---- rings -------------------------------------------------------------------------------------------- */

START_TEST(a_ring_is_refused_with_a_reason_that_tells_no_secret)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "no key"},
        {"# only words\n\n", "no key"},
        {SECRET_ID " " SECRET "\nzz96ce09a3ccc02f " SECRET, "line 2"},
        {SECRET_ID " " SECRET "0\n", "line 1"},
        {SECRET_ID " " SECRET "00\n", "line 1"},
        {SECRET_ID SECRET "\n", "line 1"},
        {SECRET_ID "  " SECRET "\n", "line 1"},
        {SECRET_ID " " SECRET " \n", "line 1"},
        {SECRET_ID " 0001020304\n", "line 1"},
        {"7096ce09a3ccc0 " SECRET "\n", "line 1"},
        {"\n# a remark\n7096ce09a3ccc02e " SECRET "\n", "line 3: the id is not that"},
        {SECRET_ID " " SECRET "\n" SECRET_ID " " SECRET "\n",
            "line 2: the key stands there twice"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mr_seal_ring *ring;
        struct mr_err err = {0};

        ck_assert_int_eq(
            mr_seal_ring_parse(mr_span_str(rows[i].text), "ring", &ring, &err),
            MR_BAD_SETTING);
        ck_assert_ptr_null(ring);
        ck_assert_msg(strstr(err.why, rows[i].says) != NULL, "%zu: %s", i, err.why);
        ck_assert(!strstr(err.why, "0001020304") && !strstr(err.what, "0001020304") &&
                  !strstr(err.todo, "0001020304"));
    }
}
END_TEST

START_TEST(keys_come_to_the_front_and_go)
{
    struct mr_seal_ring *ring;
    char first[MR_SEAL_ID_TEXT], second[MR_SEAL_ID_TEXT], third[MR_SEAL_ID_TEXT],
        id[MR_SEAL_ID_TEXT];

    ck_assert_int_eq(mr_seal_ring_new(&ring), MR_OK);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mr_seal_ring_add(ring), MR_OK);
    (void)mr_seal_ring_id(ring, 0, first);
    (void)mr_seal_ring_id(ring, 1, second);
    (void)mr_seal_ring_id(ring, 2, third);
    ck_assert(strcmp(first, second) != 0 && strcmp(second, third) != 0);
    ck_assert_int_eq(mr_seal_ring_raise(ring, 2), MR_OK);
    ck_assert_str_eq(mr_seal_ring_id(ring, 0, id), third);
    ck_assert_str_eq(mr_seal_ring_id(ring, 1, id), first);
    ck_assert_str_eq(mr_seal_ring_id(ring, 2, id), second);
    ck_assert_int_eq(mr_seal_ring_drop(ring, 1), MR_OK);
    ck_assert_uint_eq(mr_seal_ring_count(ring), 2);
    ck_assert_str_eq(mr_seal_ring_id(ring, 1, id), second);
    ck_assert_int_eq(mr_seal_ring_drop(ring, 2), MR_NOT_FOUND);
    ck_assert_int_eq(mr_seal_ring_raise(ring, 2), MR_NOT_FOUND);
    while (mr_seal_ring_count(ring) < MR_SEAL_KEYS_MAX)
        ck_assert_int_eq(mr_seal_ring_add(ring), MR_OK);
    ck_assert_int_eq(mr_seal_ring_add(ring), MR_LIMIT);
    mr_seal_ring_destroy(&ring);
    ck_assert_ptr_null(ring);
    mr_seal_ring_destroy(&ring);
}
END_TEST

static void
make_folder(void)
{
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/ring", folder);
}

static void
remove_folder(void)
{
    char beside[300];

    (void)snprintf(beside, sizeof beside, "%s.new", path);
    (void)unlink(beside);
    (void)unlink(path);
    (void)rmdir(folder);
}

START_TEST(a_file_is_written_for_its_owner_and_read_again)
{
    struct mr_seal_ring *ring, *again;
    struct mr_err err = {0};
    struct stat about;
    uint8_t bytes[128];
    size_t n;

    make_folder();
    ck_assert_int_eq(mr_seal_ring_new(&ring), MR_OK);
    while (mr_seal_ring_count(ring) < MR_SEAL_KEYS_MAX)
        ck_assert_int_eq(mr_seal_ring_add(ring), MR_OK);
    (void)umask(0);
    ck_assert_int_eq(mr_seal_ring_write(ring, path, true, &err), MR_OK);
    ck_assert_int_eq(mr_seal_ring_write(ring, path, true, &err), MR_CONFLICT);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_uint_eq(about.st_mode & 07777, 0600);
    ck_assert_int_eq(mr_seal_ring_drop(ring, 15), MR_OK);
    ck_assert_int_eq(mr_seal_ring_write(ring, path, false, &err), MR_OK);
    ck_assert_int_eq(mr_seal_ring_read(path, &again, &err), MR_OK);
    ck_assert_uint_eq(mr_seal_ring_count(again), 15);
    n = sample(ring).n;
    memcpy(bytes, sample(ring).p, n);
    ck_assert_int_eq(open_copy(again, &job, mr_span(bytes, n)), MR_OK);
    mr_seal_ring_destroy(&ring);
    mr_seal_ring_destroy(&again);
    remove_folder();
}
END_TEST

static void
put_file(mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    static const char text[] = SECRET_ID " " SECRET "\n";

    ck_assert(fd >= 0 && write(fd, text, sizeof text - 1) == sizeof text - 1);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

START_TEST(a_file_that_others_may_read_is_refused)
{
    static const mode_t wide[] = {0640, 0604, 0620, 0602, 0644, 0666, 0610, 0601};
    static const mode_t fine[] = {0600, 0400, 0700};
    struct mr_seal_ring *ring;
    struct mr_err err = {0};

    make_folder();
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        put_file(wide[i]);
        ck_assert_int_eq(mr_seal_ring_read(path, &ring, &err), MR_BAD_SETTING);
        ck_assert_msg(strstr(err.why, "others may read") != NULL, "%s", err.why);
        ck_assert_ptr_null(ring);
    }
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        put_file(fine[i]);
        ck_assert_int_eq(mr_seal_ring_read(path, &ring, &err), MR_OK);
        mr_seal_ring_destroy(&ring);
    }
    (void)unlink(path);
    ck_assert_int_eq(mr_seal_ring_read(path, &ring, &err), MR_BAD_SETTING);
    ck_assert_int_eq(mr_seal_ring_read(folder, &ring, &err), MR_BAD_SETTING);
    ck_assert_int_eq(mr_seal_ring_read("/dev/zero", &ring, &err), MR_BAD_SETTING);
    remove_folder();
}
END_TEST

START_TEST(a_credential_of_systemd_is_found)
{
    char room[256];
    struct mr_seal_ring *ring;
    struct mr_err err = {0};

    make_folder();
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    ck_assert_ptr_null(mr_seal_ring_path(NULL, room, sizeof room));
    ck_assert_ptr_null(mr_seal_ring_path("", room, sizeof room));
    ck_assert_str_eq(mr_seal_ring_path("a", room, sizeof room), "a");
    (void)setenv("CREDENTIALS_DIRECTORY", folder, 1);
    ck_assert_ptr_null(mr_seal_ring_path(NULL, room, sizeof room));
    (void)snprintf(path, sizeof path, "%s/millrace.seal", folder);
    put_file(0440); /* what an ACL for the service's user looks like */
    ck_assert_str_eq(mr_seal_ring_path("", room, sizeof room), path);
    ck_assert_str_eq(mr_seal_ring_path("a", room, sizeof room), "a");
    ck_assert_ptr_null(mr_seal_ring_path("", room, 8));
    ck_assert_int_eq(mr_seal_ring_read(path, &ring, &err), MR_OK);
    mr_seal_ring_destroy(&ring);
    put_file(0460);
    ck_assert_int_eq(mr_seal_ring_read(path, &ring, &err), MR_BAD_SETTING);
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    put_file(0440);
    ck_assert_int_eq(mr_seal_ring_read(path, &ring, &err), MR_BAD_SETTING);
    remove_folder();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire/seal");
    TCase *tcase = tcase_create("seal");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, another_implementation_gives_the_same_bytes);
    tcase_add_test(tcase, no_byte_can_be_changed);
    tcase_add_test(tcase, no_part_of_it_opens);
    tcase_add_test(tcase, it_opens_for_no_other_job_kind_or_key);
    tcase_add_test(tcase, a_key_under_another_ones_id_opens_nothing);
    tcase_add_test(tcase, the_same_job_gives_the_same_bytes_and_no_other_does);
    tcase_add_test(tcase, what_is_sealed_keeps_to_the_limit);
    tcase_add_test(tcase, the_next_key_seals_the_same_again);
    tcase_add_test(tcase, a_ring_is_refused_with_a_reason_that_tells_no_secret);
    tcase_add_test(tcase, keys_come_to_the_front_and_go);
    tcase_add_test(tcase, a_file_is_written_for_its_owner_and_read_again);
    tcase_add_test(tcase, a_file_that_others_may_read_is_refused);
    tcase_add_test(tcase, a_credential_of_systemd_is_found);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
