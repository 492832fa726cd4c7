/* The example id is from RFC 9562, appendix A.6. */
#include "schemas/base/uuid.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXAMPLE "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
#define EXAMPLE_MS INT64_C(1645557742000) /* 22 February 2022 14:22:22.00 GMT-05:00 */

static struct mr_uuid
parsed(const char *text)
{
    struct mr_uuid id = {{0}};

    ck_assert_int_eq(mr_uuid_parse(mr_span_str(text), &id), MR_OK);
    return id;
}

START_TEST(the_example_of_the_rfc)
{
    struct mr_uuid id = parsed(EXAMPLE);
    char text[MR_UUID_TEXT_MAX];

    ck_assert(mr_uuid_is_v7(id));
    ck_assert_int_eq(mr_uuid_ms(id), EXAMPLE_MS);
    ck_assert_str_eq(mr_uuid_format(id, text), EXAMPLE);
    ck_assert(mr_uuid_eq(id, parsed("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")));
}
END_TEST

/* Appendix A.1 to A.5: versions 1, 3, 4, 5, 6, then a wrong variant, nil and max. */
START_TEST(others_are_not_version_7)
{
    static const char *const others[] = {
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        "5df41881-3aed-3515-88a7-2f4a814cf09e",
        "919108f7-52d1-4320-9bac-f847db4148a8",
        "2ed6657d-e927-568b-95e1-2665a8aea6a2",
        "1ec9414c-232a-6b00-b3c8-9f6bdeced846",
        "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-d8c4-dc0c0c07398f",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    };

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert(!mr_uuid_is_v7(parsed(others[i])));
}
END_TEST

START_TEST(bad_texts_are_refused)
{
    static const char *const bad[] = {
        "",
        "x",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        " 017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398 ",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739-f",
        "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4:dc0c0c07398f",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739\xc3\xa9",
    };
    struct mr_uuid id = parsed(EXAMPLE);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(mr_uuid_parse(mr_span_str(bad[i]), &id), MR_BAD_ID);
    /* The terminator is not a digit. */
    ck_assert_int_eq(
        mr_uuid_parse(mr_span("017f22e2-79b0-7cc3-98c4-dc0c0c07398", 36), &id),
        MR_BAD_ID);
    ck_assert_int_eq(mr_uuid_parse(MR_SPAN_NONE, &id), MR_BAD_ID);
    ck_assert(mr_uuid_eq(id, parsed(EXAMPLE))); /* left alone */
}
END_TEST

START_TEST(new_ids_carry_the_time_and_differ)
{
    struct mr_uuid before = {{0}};

    for (int i = 0; i < 1000; i++) {
        struct mr_uuid id = mr_uuid_new(EXAMPLE_MS * 1000 + 999);

        ck_assert(mr_uuid_is_v7(id));
        ck_assert_int_eq(mr_uuid_ms(id), EXAMPLE_MS);
        ck_assert(!mr_uuid_eq(id, before));
        before = id;
    }
    ck_assert_int_eq(mr_uuid_ms(mr_uuid_new(0)), 0);
    ck_assert_int_eq(mr_uuid_ms(mr_uuid_new(INT64_C(281474976710655) * 1000)),
        INT64_C(281474976710655));
}
END_TEST

START_TEST(random_bits_are_all_used)
{
    struct mr_uuid seen_one = {{0}}, seen_zero = {{0}};

    for (int i = 0; i < 200; i++) {
        struct mr_uuid id = mr_uuid_new(0);

        for (size_t j = 0; j < sizeof id.b; j++) {
            seen_one.b[j] |= id.b[j];
            seen_zero.b[j] |= (uint8_t)~id.b[j];
        }
    }
    for (size_t j = 6; j < sizeof seen_one.b; j++) {
        /* The marks never move: 0111 in byte 6, 10 in byte 8. */
        unsigned always = j == 6 ? 0x70 : j == 8 ? 0x80 : 0;
        unsigned never = j == 6 ? 0x80 : j == 8 ? 0x40 : 0;

        ck_assert_uint_eq(seen_one.b[j], 0xffU & ~never);
        ck_assert_uint_eq(seen_zero.b[j], 0xffU & ~always);
    }
}
END_TEST

/* More than are drawn from the kernel at a time. */
#define MANY 2000

static int
compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct mr_uuid));
}

static void
all_differ(struct mr_uuid *ids, size_t n)
{
    qsort(ids, n, sizeof *ids, compare);
    for (size_t i = 1; i < n; i++)
        ck_assert(!mr_uuid_eq(ids[i], ids[i - 1]));
}

static void *
make_many(void *ids)
{
    struct mr_uuid *out = ids;

    for (size_t i = 0; i < MANY; i++)
        out[i] = mr_uuid_new(0);
    return NULL;
}

START_TEST(threads_never_share_an_id)
{
    enum { THREADS = 4 };
    static struct mr_uuid ids[THREADS * MANY];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_many, ids + i * MANY), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    all_differ(ids, THREADS * MANY);
}
END_TEST

/* The child's ids arrive in `out`. A second thread of it draws first. */
static void
ids_of_a_child(long (*fork_it)(void), struct mr_uuid *out)
{
    int ends[2], status;
    size_t bytes = 2 * MANY * sizeof *out;
    long pid;

    ck_assert_int_eq(pipe(ends), 0);
    pid = fork_it();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, make_many, out + MANY) != 0)
            _exit(1);
        pthread_join(thread, NULL);
        (void)make_many(out);
        for (ssize_t n, at = 0; (size_t)at < bytes; at += n)
            if ((n = write(ends[1], (char *)out + at, bytes - (size_t)at)) <= 0)
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n, at = 0; (size_t)at < bytes; at += n)
        ck_assert_int_gt(n = read(ends[0], (char *)out + at, bytes - (size_t)at), 0);
    close(ends[0]);
    ck_assert_int_eq(waitpid((pid_t)pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static long
by_libc(void)
{
    return fork();
}

/* Past all handlers of libc's. */
static long
by_the_kernel(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void
forked_differ(long (*fork_it)(void))
{
    static struct mr_uuid ids[5 * MANY];

    ids[0] = mr_uuid_new(0); /* the parent has drawn before */
    ids_of_a_child(fork_it, ids + MANY);
    ids_of_a_child(fork_it, ids + 3 * MANY);
    (void)make_many(ids);
    all_differ(ids, 5 * MANY);
}

START_TEST(a_forked_child_never_repeats_its_parent)
{
    forked_differ(by_libc);
}
END_TEST

START_TEST(a_child_forked_without_libc_does_not_either)
{
    forked_differ(by_the_kernel);
}
END_TEST

START_TEST(derived_ids_depend_on_all_they_are_given)
{
    struct mr_uuid parent = parsed(EXAMPLE);
    struct mr_uuid sibling = parsed("017f22e2-79b0-7cc3-98c4-dc0c0c073990");
    struct mr_span label = mr_span_str("pay.charge");
    struct mr_uuid id = mr_uuid_derive(parent, label, 1);

    ck_assert(mr_uuid_is_v7(id));
    ck_assert_int_eq(mr_uuid_ms(id), EXAMPLE_MS);
    ck_assert(mr_uuid_eq(id, mr_uuid_derive(parent, label, 1)));
    ck_assert(!mr_uuid_eq(id, parent));
    ck_assert(!mr_uuid_eq(id, mr_uuid_derive(sibling, label, 1)));
    ck_assert(!mr_uuid_eq(id, mr_uuid_derive(parent, label, 2)));
    ck_assert(!mr_uuid_eq(id, mr_uuid_derive(parent, label, UINT64_C(1) << 40)));
    ck_assert(!mr_uuid_eq(id, mr_uuid_derive(parent, mr_span_str("pay.chargf"), 1)));
    ck_assert(!mr_uuid_eq(id, mr_uuid_derive(parent, MR_SPAN_NONE, 1)));
    ck_assert(!mr_uuid_eq(mr_uuid_derive(parent, mr_span("\0", 1), 1),
        mr_uuid_derive(parent, MR_SPAN_NONE, 1)));
}
END_TEST

/* Ids that were derived yesterday must be derived again tomorrow: the bytes are a contract.
 * Computed with an independent SipHash (Python, from the paper) over the layout in uuid.c. */
START_TEST(derived_ids_never_change)
{
    char text[MR_UUID_TEXT_MAX];

    mr_uuid_format(mr_uuid_derive(parsed(EXAMPLE), mr_span_str("pay.charge"), 1), text);
    ck_assert_str_eq(text, "017f22e2-79b0-762b-a1de-562ce3cde736");
    mr_uuid_format(mr_uuid_derive(parsed(EXAMPLE), MR_SPAN_NONE, UINT64_MAX), text);
    ck_assert_str_eq(text, "017f22e2-79b0-7024-9ddd-6ccbbffdc4dc");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/uuid");
    TCase *tcase = tcase_create("uuid");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, the_example_of_the_rfc);
    tcase_add_test(tcase, others_are_not_version_7);
    tcase_add_test(tcase, bad_texts_are_refused);
    tcase_add_test(tcase, new_ids_carry_the_time_and_differ);
    tcase_add_test(tcase, random_bits_are_all_used);
    tcase_add_test(tcase, threads_never_share_an_id);
    tcase_add_test(tcase, a_forked_child_never_repeats_its_parent);
    tcase_add_test(tcase, a_child_forked_without_libc_does_not_either);
    tcase_add_test(tcase, derived_ids_depend_on_all_they_are_given);
    tcase_add_test(tcase, derived_ids_never_change);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
