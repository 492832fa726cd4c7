/*
 * Any bytes as a message: refused, or read; and what was read is written so that reading it
 * again gives the same fields. Corpus: tests/fuzz/corpus and the golden messages.
 */
#include <stdlib.h>

#include "tests/support/wire_echo.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

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

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct reading first = read_message(mr_span(bytes, n));

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
    return 0;
}
