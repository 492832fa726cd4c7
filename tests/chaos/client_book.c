#include "tests/chaos/client_book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/jobs.h"

#define LINE_BYTES_MAX 2048

struct mr_book_entry *
mr_book_entry(struct mr_book *book, uint32_t number)
{
    if (number >= MR_CHAOS_TWINS)
        return number - MR_CHAOS_TWINS < MR_BOOK_TWINS_MAX
                   ? &book->twins[number - MR_CHAOS_TWINS]
                   : NULL;
    return number < MR_BOOK_JOBS_MAX ? &book->jobs[number] : NULL;
}

uint32_t
mr_book_next(struct mr_book *book)
{
    return book->next < MR_BOOK_JOBS_MAX ? book->next++ : MR_BOOK_FULL;
}

void
mr_book_note(struct mr_book *book, uint32_t number, enum mr_history_op op,
    enum mr_history_phase phase)
{
    struct mr_book_entry *entry = mr_book_entry(book, number);
    uint8_t bit = (uint8_t)(1u << op);

    if (phase == MR_HISTORY_INVOKE)
        entry->under_way |= bit;
    else
        entry->under_way &= (uint8_t)~bit;
}

bool
mr_book_is_under_way(struct mr_book *book, uint32_t number, enum mr_history_op op)
{
    return mr_book_entry(book, number)->under_way & 1u << op;
}

static void
each_of(struct mr_book *book, uint32_t from, uint32_t count, mr_book_fn fn, void *context)
{
    for (uint32_t i = 0; i < count; i++) {
        for (int op = 0; op < MR_HISTORY_OPS; op++) {
            if (mr_book_is_under_way(book, from + i, (enum mr_history_op)op))
                fn(context, from + i, (enum mr_history_op)op);
        }
    }
}

void
mr_book_each_under_way(struct mr_book *book, mr_book_fn fn, void *context)
{
    each_of(book, 0, book->next, fn, context);
    each_of(book, MR_CHAOS_TWINS, MR_BOOK_TWINS_MAX, fn, context);
}

static bool
take_line(struct mr_book *book, const char *text, size_t n)
{
    struct mr_history_line line;
    struct mr_book_entry *entry;
    char number_text[16], id[MILLRACE_ID_TEXT];
    uint32_t number;

    if (mr_history_parse(mr_span(text, n), &line) || line.text.n < 3 ||
        memcmp(line.text.p, "n=", 2) != 0)
        return false;
    (void)snprintf(number_text, sizeof number_text, "%.*s", (int)line.text.n - 2,
        (const char *)line.text.p + 2);
    number = (uint32_t)strtoul(number_text, NULL, 10);
    entry = mr_book_entry(book, number);
    if (!entry)
        return false;
    (void)snprintf(id, sizeof id, "%.*s", (int)line.id.n, (const char *)line.id.p);
    entry->is_used = true;
    if (number < MR_CHAOS_TWINS && number >= book->next)
        book->next = number + 1;
    mr_book_note(book, number, line.op, line.phase);
    return millrace_id_parse(id, &entry->id) == MILLRACE_OK;
}

enum mr_status
mr_book_open(struct mr_book *book, const char *history)
{
    char line[LINE_BYTES_MAX];
    FILE *file;
    long whole = 0;
    enum mr_status status = MR_OK;

    book->next = 0;
    book->jobs = calloc(MR_BOOK_JOBS_MAX, sizeof *book->jobs);
    book->twins = calloc(MR_BOOK_TWINS_MAX, sizeof *book->twins);
    if (!book->jobs || !book->twins)
        return MR_NO_MEMORY;
    file = fopen(history, "re");
    while (status == MR_OK && file && fgets(line, sizeof line, file)) {
        size_t n = strcspn(line, "\n");

        if (line[n] != '\n')
            break;
        whole += (long)n + 1;
        if (!take_line(book, line, n))
            status = MR_MALFORMED;
    }
    if (file)
        (void)fclose(file);
    /* A kill may tear the last line; nothing may be appended to that. */
    if (status == MR_OK && file && truncate(history, whole) != 0)
        status = MR_DENIED;
    return status;
}

void
mr_book_close(struct mr_book *book)
{
    free(book->jobs);
    free(book->twins);
    *book = (struct mr_book){.next = 0};
}
