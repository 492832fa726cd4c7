/*
 * What the harnesses share. A harness is one function that takes any bytes and aborts when
 * something is wrong, and a list of files that its first inputs come from. Under clang it is
 * linked with libFuzzer (plant.c writes the first inputs as files for it); elsewhere with
 * replay.c, whose main() gives it those inputs and what is named on its command line.
 */
#ifndef MR_TESTS_FUZZ_FUZZ_H
#define MR_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

#define FUZZ_FILE_BYTES_MAX (8u * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Files from the top folder, ended by NULL. Of a .txt the rows "in HEX" are inputs, of a .jsonl
 * its lines; any other file is one. */
extern const char *const fuzz_seeds[];

/* Each input that a file or a folder holds. Returns 0, or 1 with a line on stderr when it cannot
 * be read. Folders that are not there are empty. */
typedef void (*fuzz_take_fn)(void *context, const uint8_t *bytes, size_t n);
int fuzz_read(const char *path, fuzz_take_fn take, void *context);
int fuzz_read_folder(const char *folder, fuzz_take_fn take, void *context);
/* All that fuzz_seeds names, and tests/fuzz/corpus/NAME of the program NAME_fuzz. */
int fuzz_read_all(const char *program, fuzz_take_fn take, void *context);

/* The path of a file in memory that holds these bytes; the same file for each call with that
 * number (0 or 1). */
const char *fuzz_file(unsigned number, struct mr_span bytes);

/* ---- inputs that are a list of steps: taken from the front, zeros when nothing is left ---- */

struct fuzz_in {
    const uint8_t *p, *end;
};

static inline uint8_t
fuzz_byte(struct fuzz_in *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

/* A length in two bytes, then so many bytes, or what is left; memory that ends with them, so
 * that a sanitizer sees each byte too many. free() it. */
static inline uint8_t *
fuzz_chunk(struct fuzz_in *in, size_t *n)
{
    size_t wanted = fuzz_byte(in);
    uint8_t *out;

    wanted = wanted << 8 | fuzz_byte(in);
    *n = wanted < (size_t)(in->end - in->p) ? wanted : (size_t)(in->end - in->p);
    out = malloc(*n ? *n : 1);
    MR_ASSERT(out);
    if (*n)
        memcpy(out, in->p, *n);
    in->p += *n;
    return out;
}

#endif
