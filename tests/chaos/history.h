/*
 * What a client saw of the system, written outside of it: one line for each call's begin and
 * each answer, one write(2) a line, so that a killed client leaves whole lines (a torn last one
 * is not read). Tab-separated:
 *
 *     time_us client op phase id kind digest code outcome attempt text
 *
 * An empty field is '-'; in a text, tabs and control characters become spaces.
 */
#ifndef MR_CHAOS_HISTORY_H
#define MR_CHAOS_HISTORY_H

#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

enum mr_history_op {
    MR_HISTORY_SUBMIT,
    MR_HISTORY_RESUBMIT, /* the same id and the same body */
    MR_HISTORY_FORGE,    /* the same id and another body: has to be CONFLICT */
    MR_HISTORY_CANCEL,
    MR_HISTORY_WATCH, /* what was learned about the end of a job, or on the way there */
    MR_HISTORY_SHOW,
    MR_HISTORY_OPS
};

enum mr_history_phase {
    MR_HISTORY_INVOKE,
    MR_HISTORY_OK,
    MR_HISTORY_FAIL,    /* it is certain that nothing was changed */
    MR_HISTORY_UNKNOWN, /* no answer in time: zero times or once */
    MR_HISTORY_PHASES
};

struct mr_history_line {
    int64_t at_us; /* CLOCK_MONOTONIC; 0 when writing: now */
    uint32_t client;
    enum mr_history_op op;
    enum mr_history_phase phase;
    struct mr_span id;   /* uuid, 36 characters */
    struct mr_span kind; /* at most 64 bytes */
    uint64_t digest; /* of the body (submits) or of the result's body (ends); 0: none */
    struct mr_span code;    /* OK, KNOWN, ...: millrace_code_name */
    struct mr_span outcome; /* succeeded, failed, cancelled, expired */
    uint32_t attempt;       /* 0: none */
    struct mr_span text;    /* at most 400 bytes are written */
};

/* Of the bytes of a body; never 0. The same in every run. Any thread. */
uint64_t mr_history_digest(const void *bytes, size_t n);

const char *mr_history_op_name(enum mr_history_op op);
const char *mr_history_phase_name(enum mr_history_phase phase);

/* Append to a file; several processes and threads may have it open. A descriptor, to be
 * closed with close(2), or -1 with errno. */
int mr_history_open(const char *path);

/* One line, one write. MR_STORE_FULL if it did not go out whole (errno says why). */
enum mr_status mr_history_put(int fd, const struct mr_history_line *line) MR_MUST_CHECK;

/* One line without its newline; the spans borrow from it, empty fields are empty spans.
 * MR_MALFORMED: it is none. */
enum mr_status mr_history_parse(
    struct mr_span text, struct mr_history_line *out) MR_MUST_CHECK;

#endif
