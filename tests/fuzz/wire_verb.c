/*
 * Any bytes as a message of one verb (VERB, from the Makefile: one program for each): refused, or
 * read; and what was read is written so that reading it again gives the same fields.
 */
#include <stdlib.h>
#include <strings.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_echo.h"

#ifndef VERB
#define VERB "submit"
#endif

const char *const fuzz_seeds[] = {"schemas/wire/vectors/" VERB "_good.txt",
    "schemas/wire/vectors/" VERB "_bad.txt", NULL};

struct reading {
    enum mr_status status;
    char *line;
    size_t line_bytes;
    struct mr_wr written;
};

static struct reading
read_message(struct mr_span frame)
{
    struct reading it = {.line = NULL};
    FILE *out = open_memstream(&it.line, &it.line_bytes);

    MR_ASSERT(out != NULL);
    mr_wr_init(&it.written, 2 * MR_MESSAGE_BYTES_MAX);
    it.status = echo_message(frame, out, &it.written);
    MR_ASSERT(fclose(out) == 0);
    return it;
}

static void
drop(struct reading *it)
{
    mr_wr_fini(&it->written);
    free(it->line);
}

static uint8_t
our_verb(void)
{
    int verb = 0;

    while (
        verb < MR_VERB_COUNT && strcasecmp(mr_verb_name((enum mr_verb)verb), VERB) != 0)
        verb++;
    MR_ASSERT(verb < MR_VERB_COUNT);
    return (uint8_t)verb;
}

static void
read_twice(struct mr_span frame)
{
    struct reading first = read_message(frame);

    MR_ASSERT(first.status == MR_OK || first.status == MR_MALFORMED ||
              first.status == MR_TOO_BIG);
    if (first.status == MR_OK) {
        MR_ASSERT(first.written.status == MR_OK);
        struct reading second = read_message(mr_wr_span(&first.written));
        MR_ASSERT(second.status == MR_OK);
        /* We write CREDIT without corr, whatever came with it. */
        MR_ASSERT(strncmp(first.line, "CREDIT ", 7) == 0 ||
                  (second.line_bytes == first.line_bytes &&
                      memcmp(first.line, second.line, first.line_bytes) == 0));
        MR_ASSERT(mr_span_eq(mr_wr_span(&first.written), mr_wr_span(&second.written)));
        drop(&second);
    }
    drop(&first);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    bool is_short_array = n >= 2 && (bytes[0] & 0xf0) == 0x90;
    uint8_t *ours = malloc(n ? n : 1);

    MR_ASSERT(ours);
    if (n)
        memcpy(ours, bytes, n);
    if (is_short_array) /* whatever became of the verb */
        ours[1] = our_verb();
    read_twice(mr_span(ours, n));
    free(ours);
    return 0;
}
