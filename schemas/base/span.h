/*
 * Borrowed bytes. A span never outlives what it points into, and nothing stores one beyond
 * the call or the batch whose memory it borrows. Not terminated. Any thread.
 */
#ifndef MR_BASE_SPAN_H
#define MR_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mr_span {
    const uint8_t *p; /* may be NULL when n is 0 */
    size_t n;         /* bytes */
};

#define MR_SPAN_NONE ((struct mr_span){NULL, 0})

static inline struct mr_span
mr_span(const void *p, size_t n)
{
    return (struct mr_span){p, n};
}

/* `s` may be NULL: the empty span. */
static inline struct mr_span
mr_span_str(const char *s)
{
    return (struct mr_span){(const uint8_t *)s, s ? strlen(s) : 0};
}

/* Behind its last byte; of an empty span its start, which may be NULL (to which C lets nobody add
 * even 0). */
static inline const uint8_t *
mr_span_end(struct mr_span a)
{
    return a.n ? a.p + a.n : a.p;
}

static inline bool
mr_span_eq(struct mr_span a, struct mr_span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool
mr_span_is(struct mr_span a, const char *s)
{
    return mr_span_eq(a, mr_span_str(s));
}

/* At most `max` bytes of `text`, and no part of a character of UTF-8 at the end: what is cut stays
 * text. Bytes that are no UTF-8 in the first place are not judged. */
static inline struct mr_span
mr_span_cut(struct mr_span text, size_t max)
{
    size_t n = text.n < max ? text.n : max, back = 0;
    uint8_t lead;

    while (back < n && back < 4 && (text.p[n - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == n || back == 4)
        return mr_span(text.p, n);
    lead = text.p[n - 1 - back];
    if ((lead >= 0xc0 && back < 1) || (lead >= 0xe0 && back < 2) ||
        (lead >= 0xf0 && back < 3))
        n -= back + 1;
    return mr_span(text.p, n);
}

#endif
