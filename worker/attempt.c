#include "worker/attempt.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/seal.h"

#define KEPT_BYTES_MAX 65536u /* memory that a free one may keep */

struct mr_attempt *
mr_attempt_new(void)
{
    struct mr_attempt *attempt = calloc(1, sizeof *attempt);

    if (!attempt)
        return NULL;
    attempt->note.type = MR_NOTE_ATTEMPT;
    atomic_init(&attempt->stop, MR_STOP_NOT);
    atomic_init(&attempt->is_handled, false);
    atomic_init(&attempt->progress, NULL);
    mr_wr_init(&attempt->text, MR_ERROR_BYTES_MAX);
    mr_wr_init(&attempt->body, MR_RESULT_BYTES_MAX);
    return attempt;
}

void
mr_attempt_destroy(struct mr_attempt **attempt)
{
    struct mr_attempt *gone = *attempt;

    if (!gone)
        return;
    if (gone->is_opened)
        mr_seal_wipe((uint8_t *)(uintptr_t)gone->payload.p, gone->payload.n);
    free(atomic_load(&gone->progress));
    mr_wr_fini(&gone->text);
    mr_wr_fini(&gone->body);
    free(gone->bytes);
    free(gone);
    *attempt = NULL;
}

static struct mr_span
put(struct mr_attempt *attempt, size_t *at, struct mr_span from)
{
    uint8_t *to = attempt->bytes + *at;

    if (from.n)
        memcpy(to, from.p, from.n);
    *at += from.n;
    return mr_span(to, from.n);
}

enum mr_status
mr_attempt_set(struct mr_attempt *attempt, const struct mr_job_sent *sent,
    const struct millrace_kind *kind, uint64_t serial)
{
    size_t need = sent->payload.n + sent->queue.n + sent->trace.n;
    size_t at = 0;

    if (need > attempt->room || !attempt->bytes) {
        uint8_t *bytes = realloc(attempt->bytes, need ? need : 1);

        if (!bytes)
            return MR_NO_MEMORY;
        attempt->bytes = bytes;
        attempt->room = need;
    }
    attempt->id = sent->id;
    attempt->number = sent->attempt;
    attempt->kind = kind;
    attempt->payload = put(attempt, &at, sent->payload);
    attempt->queue = put(attempt, &at, sent->queue);
    attempt->trace = put(attempt, &at, sent->trace);
    attempt->timeout_ms = sent->timeout_ms;
    attempt->serial = serial;
    attempt->is_isolated = attempt->is_alone = attempt->comes_back = false;
    attempt->is_opened = false;
    attempt->done = (struct mr_done){.id = sent->id, .attempt = sent->attempt};
    return MR_OK;
}

static void
shrink(struct mr_wr *wr)
{
    if (wr->cap > KEPT_BYTES_MAX)
        mr_wr_fini(wr);
    mr_wr_reset(wr);
}

void
mr_attempt_reset(struct mr_attempt *attempt)
{
    if (attempt->is_opened)
        mr_seal_wipe((uint8_t *)(uintptr_t)attempt->payload.p, attempt->payload.n);
    attempt->is_opened = false;
    shrink(&attempt->text);
    shrink(&attempt->body);
    if (attempt->room > KEPT_BYTES_MAX) {
        free(attempt->bytes);
        attempt->bytes = NULL;
        attempt->room = 0;
    }
    free(atomic_exchange(&attempt->progress, NULL));
    atomic_store(&attempt->stop, MR_STOP_NOT);
    atomic_store(&attempt->is_handled, false);
    attempt->rings = false;
    attempt->place = MR_PLACE_NONE;
    attempt->is_disowned = false;
    attempt->permille = attempt->note_bytes = 0;
    attempt->held_bytes = 0;
}

/* ---- texts ---------------------------------------------------------------------------------- */

/* Bytes of the character at `p`, 0 if it is not one (RFC 3629: no overlong forms, no surrogates,
 * nothing above U+10FFFF). */
static size_t
utf8_length(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t bytes;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    bytes = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (bytes > n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

static bool
is_control(uint8_t c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
}

size_t
mr_attempt_clean_text(char *out, size_t room, struct mr_span from)
{
    size_t n = 0;

    for (size_t i = 0; i < from.n;) {
        size_t bytes = utf8_length(from.p + i, from.n - i);

        if (n + (bytes ? bytes : 1) > room)
            break;
        if (!bytes || is_control(from.p[i])) {
            out[n++] = '?';
            i++;
            continue;
        }
        memcpy(out + n, from.p + i, bytes);
        n += bytes;
        i += bytes;
    }
    return n;
}

void
mr_attempt_report(struct mr_attempt *attempt, enum mr_report report, struct mr_span text)
{
    char clean[MR_ERROR_BYTES_MAX];
    size_t n = mr_attempt_clean_text(clean, sizeof clean, text);

    mr_wr_reset(&attempt->text);
    mr_wr_raw(&attempt->text, mr_span(clean, n));
    if (attempt->text.status) /* without memory for the reason, the fact has to do */
        mr_wr_reset(&attempt->text);
    if (report != MR_DID_SUCCEED && report != MR_WAS_FINISHED)
        mr_wr_reset(&attempt->body);
    attempt->done.report = report;
    attempt->done.text = mr_wr_span(&attempt->text);
    attempt->done.body = mr_wr_span(&attempt->body);
    attempt->done.outcome = (enum mr_outcome)0;
    if (!attempt->done.finished_at_us)
        attempt->done.finished_at_us = mr_clock_now().wall_us;
}

void
mr_attempt_reportf(
    struct mr_attempt *attempt, enum mr_report report, const char *format, ...)
{
    char text[MR_ERROR_BYTES_MAX + 1];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mr_attempt_report(attempt, report, mr_span_str(text));
}

static void
report_found(struct mr_attempt *attempt)
{
    const struct mr_finish *finish = &attempt->finish;

    /* Even if it has our number: a broker that was started again does not know which numbers of
     * attempts that left no row it gave away, so another worker's may be the same. */
    mr_wr_reset(&attempt->body);
    mr_wr_raw(&attempt->body, finish->found_body);
    if (attempt->body.status) {
        /* Told to run again, it finds the same row again and then perhaps has memory. */
        mr_attempt_report(attempt, MR_DID_FAIL,
            mr_span_str(
                "it is finished already, but there is no memory for what stands"));
        return;
    }
    mr_attempt_report(attempt, MR_WAS_FINISHED, finish->found_text);
    attempt->done.outcome = finish->found_outcome;
}

void
mr_attempt_report_stored(struct mr_attempt *attempt)
{
    enum mr_status status = attempt->finish.status;

    if (status == MR_OK)
        mr_attempt_report(attempt, MR_DID_SUCCEED, MR_SPAN_NONE);
    else if (status == MR_FINISHED)
        report_found(attempt);
    else
        mr_attempt_reportf(attempt, MR_DID_FAIL_FOR_GOOD,
            "the result could not be stored: %s: %s", mr_status_name(status),
            mr_status_text(status));
}

/* ---- progress ------------------------------------------------------------------------------- */

void
mr_attempt_progress(struct mr_attempt *attempt, uint32_t permille, struct mr_span text)
{
    /* One that nobody took is ours again and can be filled once more. */
    struct mr_progress *progress = atomic_exchange(&attempt->progress, NULL);

    if (!progress)
        progress = malloc(sizeof *progress);
    if (!progress)
        return; /* the next one may have more luck; nothing depends on it */
    progress->permille = permille < 1000 ? permille : 1000;
    progress->bytes =
        (uint32_t)mr_attempt_clean_text(progress->text, sizeof progress->text, text);
    atomic_store(&attempt->progress, progress);
}
