#include "tests/chaos/history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/base/hash.h"
#include "schemas/base/uuid.h"

#define TEXT_BYTES_MAX 400
#define LINE_BYTES_MAX 1024

enum { FIELDS = 11 };

static const char *const op_names[] = {[MR_HISTORY_SUBMIT] = "submit",
    [MR_HISTORY_RESUBMIT] = "resubmit",
    [MR_HISTORY_FORGE] = "forge",
    [MR_HISTORY_CANCEL] = "cancel",
    [MR_HISTORY_WATCH] = "watch",
    [MR_HISTORY_SHOW] = "show"};
static const char *const phase_names[] = {[MR_HISTORY_INVOKE] = "invoke",
    [MR_HISTORY_OK] = "ok",
    [MR_HISTORY_FAIL] = "fail",
    [MR_HISTORY_UNKNOWN] = "unknown"};

uint64_t
mr_history_digest(const void *bytes, size_t n)
{
    /* Any fixed key will do; what matters is that all processes have the same. */
    uint64_t digest =
        mr_hash((struct mr_hash_key){UINT64_C(0x6d696c6c), UINT64_C(0x72616365)},
            mr_span(bytes, n));

    return digest ? digest : 1;
}

const char *
mr_history_op_name(enum mr_history_op op)
{
    return op_names[op];
}

const char *
mr_history_phase_name(enum mr_history_phase phase)
{
    return phase_names[phase];
}

/* ---- writing --------------------------------------------------------------------------------- */

int
mr_history_open(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

struct line {
    char bytes[LINE_BYTES_MAX];
    size_t n;
};

static void
put_span(struct line *line, struct mr_span text, size_t max)
{
    struct mr_span cut = mr_span_cut(text, max);

    if (cut.n == 0)
        cut = mr_span_str("-");
    for (size_t i = 0; i < cut.n; i++)
        line->bytes[line->n++] =
            (char)(cut.p[i] < ' ' || cut.p[i] == 0x7f ? ' ' : cut.p[i]);
}

static void
put_word(struct line *line, struct mr_span word, size_t max)
{
    put_span(line, word, max);
    line->bytes[line->n++] = '\t';
}

static void
put_number(struct line *line, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    put_word(line, mr_span_str(text), sizeof text);
}

static void
put_digest(struct line *line, uint64_t digest)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%016" PRIx64, digest);
    put_word(line, mr_span_str(digest ? text : ""), sizeof text);
}

enum mr_status
mr_history_put(int fd, const struct mr_history_line *from)
{
    struct line line = {.n = 0};
    int64_t at_us = from->at_us ? from->at_us : mr_clock_now().mono_us;
    ssize_t written;

    put_number(&line, (uint64_t)at_us);
    put_number(&line, from->client);
    put_word(&line, mr_span_str(op_names[from->op]), 16);
    put_word(&line, mr_span_str(phase_names[from->phase]), 16);
    put_word(&line, from->id, MR_UUID_TEXT_MAX - 1);
    put_word(&line, from->kind, 64);
    put_digest(&line, from->digest);
    put_word(&line, from->code, 32);
    put_word(&line, from->outcome, 32);
    put_number(&line, from->attempt);
    put_span(&line, from->text, TEXT_BYTES_MAX);
    line.bytes[line.n++] = '\n';
    do
        written = write(fd, line.bytes, line.n);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)line.n ? MR_OK : MR_STORE_FULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool
split(struct mr_span text, struct mr_span fields[FIELDS])
{
    for (int i = 0; i < FIELDS; i++) {
        const uint8_t *tab = text.n ? memchr(text.p, '\t', text.n) : NULL;
        size_t n = tab ? (size_t)(tab - text.p) : text.n;

        if (n == 0 || (tab != NULL) == (i == FIELDS - 1))
            return false;
        fields[i] = mr_span(text.p, n);
        if (mr_span_is(fields[i], "-"))
            fields[i] = MR_SPAN_NONE;
        text = tab ? mr_span(tab + 1, text.n - n - 1) : MR_SPAN_NONE;
    }
    return true;
}

static bool
read_number(struct mr_span text, int base, uint64_t max, uint64_t *out)
{
    char copy[24], *end;

    if (text.n == 0 || text.n >= sizeof copy || text.p[0] == '-' || text.p[0] == '+')
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    errno = 0;
    *out = strtoull(copy, &end, base);
    return errno == 0 && *end == '\0' && *out <= max;
}

static bool
read_name(struct mr_span text, const char *const *names, int count, int *out)
{
    for (*out = 0; *out < count; ++*out) {
        if (mr_span_is(text, names[*out]))
            return true;
    }
    return false;
}

enum mr_status
mr_history_parse(struct mr_span text, struct mr_history_line *out)
{
    struct mr_span fields[FIELDS];
    uint64_t at_us, client, attempt, digest = 0;
    int op, phase;

    if (!split(text, fields) || !read_number(fields[0], 10, INT64_MAX, &at_us) ||
        !read_number(fields[1], 10, UINT32_MAX, &client) ||
        !read_name(fields[2], op_names, MR_HISTORY_OPS, &op) ||
        !read_name(fields[3], phase_names, MR_HISTORY_PHASES, &phase) ||
        fields[4].n != MR_UUID_TEXT_MAX - 1 ||
        (fields[6].n && !read_number(fields[6], 16, UINT64_MAX, &digest)) ||
        !read_number(fields[9], 10, UINT32_MAX, &attempt))
        return MR_MALFORMED;
    *out = (struct mr_history_line){.at_us = (int64_t)at_us,
        .client = (uint32_t)client,
        .op = (enum mr_history_op)op,
        .phase = (enum mr_history_phase)phase,
        .id = fields[4],
        .kind = fields[5],
        .digest = digest,
        .code = fields[7],
        .outcome = fields[8],
        .attempt = (uint32_t)attempt,
        .text = fields[10]};
    return MR_OK;
}
