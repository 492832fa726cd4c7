/* Most of the worth of this one is under the thread sanitizer (make tsan). */
#include "schemas/base/mailbox.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#define SENDERS 4
#define LETTERS_EACH 20000
#define DEADLINE_MS 20000

struct letter {
    struct mr_node node; /* first: a node is its letter */
    int sender;
    int number;
};

static struct mr_mailbox *
new_box(void)
{
    struct mr_mailbox *box = NULL;

    ck_assert_int_eq(mr_mailbox_new(&box), MR_OK);
    return box;
}

static bool
is_readable(struct mr_mailbox *box, int timeout_ms)
{
    struct pollfd poller = {.fd = mr_mailbox_fd(box), .events = POLLIN};

    return poll(&poller, 1, timeout_ms) == 1;
}

static int
take_number(struct mr_mailbox *box)
{
    struct letter *letter = (struct letter *)mr_mailbox_take(box);

    return letter ? letter->number : -1;
}

START_TEST(first_in_first_out)
{
    struct mr_mailbox *box = new_box();
    struct letter letters[5];

    ck_assert_int_eq(take_number(box), -1);
    for (int i = 0; i < 5; i++) {
        letters[i].number = i;
        mr_mailbox_give(box, &letters[i].node);
    }
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(take_number(box), i);
    ck_assert_int_eq(take_number(box), -1);
    mr_mailbox_destroy(&box);
    ck_assert_ptr_null(box);
    mr_mailbox_destroy(&box);
}
END_TEST

START_TEST(a_node_may_travel_again)
{
    struct mr_mailbox *box = new_box();
    struct letter a = {.number = 1}, b = {.number = 2};

    for (int i = 0; i < 1000; i++) {
        mr_mailbox_give(box, &a.node);
        ck_assert_int_eq(take_number(box), 1);
        mr_mailbox_give(box, &b.node);
        mr_mailbox_give(box, &a.node);
        ck_assert_int_eq(take_number(box), 2);
        ck_assert_int_eq(take_number(box), 1);
        ck_assert_int_eq(take_number(box), -1);
    }
    mr_mailbox_destroy(&box);
}
END_TEST

START_TEST(the_bell_rings_until_hushed)
{
    struct mr_mailbox *box = new_box();
    struct letter a = {.number = 1}, b = {.number = 2}, c = {.number = 3};

    ck_assert(!is_readable(box, 0));
    mr_mailbox_give(box, &a.node);
    mr_mailbox_give(box, &b.node);
    ck_assert(is_readable(box, 0));
    ck_assert_int_eq(take_number(box), 1);
    ck_assert(is_readable(box, 0)); /* taking is not hushing */
    mr_mailbox_hush(box);
    ck_assert(!is_readable(box, 0));
    mr_mailbox_give(box, &c.node); /* given after the hush: rings */
    ck_assert(is_readable(box, 0));
    mr_mailbox_hush(box);
    ck_assert_int_eq(take_number(box), 2);
    ck_assert_int_eq(take_number(box), 3);
    ck_assert_int_eq(take_number(box), -1);
    ck_assert(!is_readable(box, 0));
    mr_mailbox_hush(box); /* nothing to hush */
    mr_mailbox_destroy(&box);
}
END_TEST

START_TEST(pushed_nodes_are_there_before_the_ring)
{
    struct mr_mailbox *box = new_box();
    struct letter a = {.number = 1}, b = {.number = 2};

    mr_mailbox_push(box, &a.node);
    mr_mailbox_push(box, &b.node);
    ck_assert(!is_readable(box, 0));
    ck_assert_int_eq(take_number(box), 1);
    mr_mailbox_ring(box);
    ck_assert(is_readable(box, 0));
    mr_mailbox_hush(box);
    ck_assert_int_eq(take_number(box), 2);
    ck_assert_int_eq(take_number(box), -1);
    mr_mailbox_destroy(&box);
}
END_TEST

START_TEST(wait_returns_at_once_if_something_is_there)
{
    struct mr_mailbox *box = new_box();
    struct letter letters[3];

    for (int i = 0; i < 3; i++) {
        letters[i].number = i;
        mr_mailbox_give(box, &letters[i].node);
    }
    /* One at a time: what is left must not be slept over. */
    for (int i = 0; i < 3; i++) {
        mr_mailbox_wait(box, -1);
        ck_assert_int_eq(take_number(box), i);
    }
    mr_mailbox_wait(box, 0);
    mr_mailbox_wait(box, 1);
    ck_assert_int_eq(take_number(box), -1);
    mr_mailbox_destroy(&box);
}
END_TEST

struct sender {
    struct mr_mailbox *box;
    int id;
};

static void *
send_all(void *argument)
{
    const struct sender *sender = argument;

    for (int i = 0; i < LETTERS_EACH; i++) {
        struct letter *letter = malloc(sizeof *letter);

        MR_ASSERT(letter);
        letter->sender = sender->id;
        letter->number = i;
        mr_mailbox_give(sender->box, &letter->node);
    }
    return NULL;
}

/* Each sender's letters come in its order, and none is missing. */
static void
open_letter(struct letter *letter, int next[SENDERS])
{
    ck_assert_int_eq(letter->number, next[letter->sender]);
    next[letter->sender]++;
    free(letter);
}

static void
start(struct mr_mailbox *box, struct sender senders[SENDERS], pthread_t threads[SENDERS])
{
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.box = box, .id = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
}

START_TEST(many_senders_one_waiting_receiver)
{
    struct mr_mailbox *box = new_box();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    int next[SENDERS] = {0};
    int left = SENDERS * LETTERS_EACH;

    start(box, senders, threads);
    while (left > 0) {
        struct mr_node *node;

        mr_mailbox_wait(box, -1); /* a lost ring hangs here, check's time limit tells */
        while ((node = mr_mailbox_take(box))) {
            open_letter((struct letter *)node, next);
            left--;
        }
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_ptr_null(mr_mailbox_take(box));
    mr_mailbox_destroy(&box);
}
END_TEST

START_TEST(many_senders_one_polling_receiver)
{
    struct mr_mailbox *box = new_box();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    int next[SENDERS] = {0};
    int left = SENDERS * LETTERS_EACH;

    start(box, senders, threads);
    while (left > 0) {
        struct mr_node *node;

        ck_assert(is_readable(box, DEADLINE_MS));
        mr_mailbox_hush(box);
        while ((node = mr_mailbox_take(box))) {
            open_letter((struct letter *)node, next);
            left--;
        }
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    mr_mailbox_destroy(&box);
}
END_TEST

struct echo {
    struct mr_mailbox *in, *out;
    int rounds;
};

static void *
send_back(void *argument)
{
    const struct echo *echo = argument;

    for (int i = 0; i < echo->rounds;) {
        struct mr_node *node;

        mr_mailbox_wait(echo->in, -1);
        for (; (node = mr_mailbox_take(echo->in)); i++)
            mr_mailbox_give(echo->out, node);
    }
    return NULL;
}

/* The receiver is asleep nearly each time: the case in which a ring gets lost. What the
 * letter says is written by turns, so the sanitizer sees if ownership does not go with it. */
START_TEST(ping_pong_loses_no_ring)
{
    struct mr_mailbox *there = new_box(), *back = new_box();
    struct echo echo = {.in = there, .out = back, .rounds = 20000};
    struct letter letter = {.number = 0};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, send_back, &echo), 0);
    for (int i = 0; i < echo.rounds; i++) {
        struct mr_node *node = NULL;

        letter.number = i;
        mr_mailbox_give(there, &letter.node);
        while (!(node = mr_mailbox_take(back)))
            mr_mailbox_wait(back, -1);
        ck_assert_ptr_eq(node, &letter.node);
        ck_assert_int_eq(letter.number, i);
    }
    pthread_join(thread, NULL);
    mr_mailbox_destroy(&there);
    mr_mailbox_destroy(&back);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/mailbox");
    TCase *tcase = tcase_create("mailbox");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, first_in_first_out);
    tcase_add_test(tcase, a_node_may_travel_again);
    tcase_add_test(tcase, the_bell_rings_until_hushed);
    tcase_add_test(tcase, pushed_nodes_are_there_before_the_ring);
    tcase_add_test(tcase, wait_returns_at_once_if_something_is_there);
    tcase_add_test(tcase, many_senders_one_waiting_receiver);
    tcase_add_test(tcase, many_senders_one_polling_receiver);
    tcase_add_test(tcase, ping_pong_loses_no_ring);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
