/*
 * main() of a harness where there is no libFuzzer: gives it each file named, or else its first
 * inputs and its corpus (tests/fuzz/corpus/NAME). Run from the top folder. The last line is one
 * that tests/run_tests.sh reads. A finding aborts.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static unsigned inputs;

/* From memory that ends with the input, so that a sanitizer sees each byte too many. */
static void
feed(void *context, const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);

    (void)context;
    MR_ASSERT(exact);
    if (n)
        memcpy(exact, bytes, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    inputs++;
}

int
main(int argc, char **argv)
{
    int failed = argc == 1 ? fuzz_read_all(argv[0], feed, NULL) : 0;

    for (int i = 1; i < argc; i++)
        failed |= fuzz_read(argv[i], feed, NULL);
    failed |= inputs == 0;
    printf(
        "%d%%: Checks: %u, Failures: 0, Errors: %d\n", failed ? 0 : 100, inputs, failed);
    return failed;
}
