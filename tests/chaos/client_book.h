/*
 * What a client knows of its jobs: their ids and which calls about them are under way. Filled
 * from the client's history when it starts again.
 */
#ifndef MR_CHAOS_CLIENT_BOOK_H
#define MR_CHAOS_CLIENT_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "tests/chaos/history.h"

#define MR_BOOK_JOBS_MAX 200000
#define MR_BOOK_TWINS_MAX 20000
#define MR_BOOK_FULL UINT32_MAX

struct mr_book_entry {
    struct millrace_id id;
    bool is_used;
    uint8_t under_way; /* a bit for each enum mr_history_op */
};

struct mr_book {
    struct mr_book_entry *jobs, *twins;
    uint32_t next;
};

/* Reads the history and cuts a torn last line off. MR_MALFORMED: a line that is none. */
enum mr_status mr_book_open(struct mr_book *book, const char *history) MR_MUST_CHECK;
void mr_book_close(struct mr_book *book);

/* NULL: there is no room for that number. */
struct mr_book_entry *mr_book_entry(struct mr_book *book, uint32_t number);

/* A number that was never used; MR_BOOK_FULL. */
uint32_t mr_book_next(struct mr_book *book);

void mr_book_note(struct mr_book *book, uint32_t number, enum mr_history_op op,
    enum mr_history_phase phase);
bool mr_book_is_under_way(struct mr_book *book, uint32_t number, enum mr_history_op op);

typedef void (*mr_book_fn)(void *context, uint32_t number, enum mr_history_op op);

/* Each call that is under way; `fn` may note its end. */
void mr_book_each_under_way(struct mr_book *book, mr_book_fn fn, void *context);

#endif
