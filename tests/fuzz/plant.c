/*
 * Linked beside libFuzzer: with FUZZ_PLANT=FOLDER a harness writes its first inputs there, one
 * file each, and ends.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

struct planting {
    const char *folder;
    unsigned count;
};

static void
plant(void *context, const uint8_t *bytes, size_t n)
{
    struct planting *planting = context;
    char path[1024];

    snprintf(path, sizeof path, "%s/%04u", planting->folder, planting->count++);
    FILE *out = fopen(path, "wb");
    MR_ASSERT(out && fwrite(bytes, 1, n, out) == n && fclose(out) == 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct planting planting = {.folder = getenv("FUZZ_PLANT")};

    (void)argc;
    if (!planting.folder)
        return 0;
    exit(fuzz_read_all((*argv)[0], plant, &planting));
}
