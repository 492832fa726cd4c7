#include "schemas/base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/*
 * Vyukov's queue: senders swap themselves into `head` and then link their predecessor; the
 * receiver follows the links from `tail`. `stub` keeps the list from ever being empty.
 *
 * The bell. `is_rung` is true from the ring until the receiver hushes, so that a hundred
 * gives cost one write(2). hush() lowers it before the receiver looks: a node that is linked
 * later rings again, a node that was linked earlier is found by the takes that follow. Both
 * sides exchange on is_rung (acquire and release), which orders "link, then ring" against
 * "hush, then look".
 *
 * Between a sender's swap and its link the receiver sees the end of the list although more
 * is behind. take() then says NULL: that sender has not rung yet and will, after its link;
 * and everything behind it is reached through it.
 */
struct mr_mailbox {
    _Alignas(64) struct mr_node *_Atomic head; /* senders */
    atomic_bool is_rung;
    _Alignas(64) struct mr_node *tail; /* receiver */
    struct mr_node stub;
    int fd;
};

enum mr_status
mr_mailbox_new(struct mr_mailbox **out)
{
    struct mr_mailbox *box = aligned_alloc(_Alignof(struct mr_mailbox), sizeof *box);
    int fd;

    *out = NULL;
    if (!box)
        return MR_NO_MEMORY;
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        free(box);
        return MR_NO_MEMORY;
    }
    box->fd = fd;
    atomic_init(&box->stub.next, NULL);
    atomic_init(&box->head, &box->stub);
    atomic_init(&box->is_rung, false);
    box->tail = &box->stub;
    *out = box;
    return MR_OK;
}

void
mr_mailbox_destroy(struct mr_mailbox **box)
{
    if (!*box)
        return;
    close((*box)->fd);
    free(*box);
    *box = NULL;
}

void
mr_mailbox_push(struct mr_mailbox *box, struct mr_node *node)
{
    struct mr_node *before;

    atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
    before = atomic_exchange_explicit(&box->head, node, memory_order_acq_rel);
    atomic_store_explicit(&before->next, node, memory_order_release);
}

void
mr_mailbox_ring(struct mr_mailbox *box)
{
    static const uint64_t one = 1;

    if (atomic_exchange_explicit(&box->is_rung, true, memory_order_acq_rel))
        return;
    while (write(box->fd, &one, sizeof one) < 0) {
        /* EAGAIN: the counter is at its end, so the bell is as loud as it gets. */
        if (errno == EAGAIN)
            return;
        MR_ASSERT(errno == EINTR);
    }
}

void
mr_mailbox_give(struct mr_mailbox *box, struct mr_node *node)
{
    mr_mailbox_push(box, node);
    mr_mailbox_ring(box);
}

struct mr_node *
mr_mailbox_take(struct mr_mailbox *box)
{
    struct mr_node *tail = box->tail;
    struct mr_node *next = atomic_load_explicit(&tail->next, memory_order_acquire);

    if (tail == &box->stub) {
        if (!next)
            return NULL;
        box->tail = tail = next;
        next = atomic_load_explicit(&tail->next, memory_order_acquire);
    }
    if (!next) {
        if (tail != atomic_load_explicit(&box->head, memory_order_acquire))
            return NULL; /* a sender is between its swap and its link */
        /* The last node may only leave with something behind it. */
        mr_mailbox_push(box, &box->stub);
        next = atomic_load_explicit(&tail->next, memory_order_acquire);
        if (!next)
            return NULL;
    }
    box->tail = next;
    return tail;
}

int
mr_mailbox_fd(const struct mr_mailbox *box)
{
    return box->fd;
}

void
mr_mailbox_hush(struct mr_mailbox *box)
{
    uint64_t count;

    /* The fd first: were the flag first, a ring in between would be swallowed here while the
     * flag stays up, and the bell would be dead for ever. */
    while (read(box->fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
    (void)atomic_exchange_explicit(&box->is_rung, false, memory_order_acq_rel);
}

static int64_t
now_ms(void)
{
    struct timespec t;

    MR_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* False while a sender is between its swap and its link: it rings when it is done. */
static bool
is_waiting(const struct mr_mailbox *box)
{
    const struct mr_node *tail = box->tail;

    if (atomic_load_explicit(&tail->next, memory_order_acquire))
        return true;
    return tail != &box->stub &&
           tail == atomic_load_explicit(&box->head, memory_order_acquire);
}

void
mr_mailbox_wait(struct mr_mailbox *box, int timeout_ms)
{
    struct pollfd poller = {.fd = box->fd, .events = POLLIN};
    int64_t end_ms = timeout_ms < 0 ? 0 : now_ms() + timeout_ms;
    int left_ms = timeout_ms;

    while (!is_waiting(box) && poll(&poller, 1, left_ms) < 0) {
        MR_ASSERT(errno == EINTR);
        if (timeout_ms >= 0) {
            int64_t left = end_ms - now_ms();

            left_ms = left > 0 ? (int)left : 0;
        }
    }
    mr_mailbox_hush(box);
}
