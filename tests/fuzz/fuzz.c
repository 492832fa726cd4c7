#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Two digits become a byte, in place. */
static size_t
from_hex(char *hex)
{
    size_t n = 0;
    unsigned byte;

    for (const char *digits = hex; sscanf(digits, "%2x", &byte) == 1; digits += 2)
        hex[n++] = (char)byte;
    return n;
}

static void
take_rows(char *text, fuzz_take_fn take, void *context)
{
    char *rest = text;

    for (char *row = strtok_r(text, "\n", &rest); row;
         row = strtok_r(NULL, "\n", &rest)) {
        char *hex = row + strspn(row, "in ");
        bool is_input = strncmp(row, "in ", 3) == 0;

        if (is_input)
            take(context, (uint8_t *)hex, from_hex(hex));
    }
}

static void
take_lines(char *text, fuzz_take_fn take, void *context)
{
    char *rest = text;

    for (char *row = strtok_r(text, "\n", &rest); row; row = strtok_r(NULL, "\n", &rest))
        take(context, (uint8_t *)row, strlen(row));
}

int
fuzz_read(const char *path, fuzz_take_fn take, void *context)
{
    const char *dot = strrchr(path, '.');
    char *bytes = malloc(FUZZ_FILE_BYTES_MAX + 1);
    FILE *in = fopen(path, "rb");

    if (!bytes || !in) {
        fprintf(stderr, "cannot read %s; run this from the top folder\n", path);
        free(bytes);
        return 1;
    }
    size_t n = fread(bytes, 1, FUZZ_FILE_BYTES_MAX, in);
    bytes[n] = '\0';
    fclose(in);
    if (dot && strcmp(dot, ".txt") == 0)
        take_rows(bytes, take, context);
    else if (dot && strcmp(dot, ".jsonl") == 0)
        take_lines(bytes, take, context);
    else
        take(context, (uint8_t *)bytes, n);
    free(bytes);
    return 0;
}

int
fuzz_read_folder(const char *folder, fuzz_take_fn take, void *context)
{
    char path[1024];
    struct dirent *entry;
    int failed = 0;
    DIR *dir = opendir(folder);

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        failed |= fuzz_read(path, take, context);
    }
    if (dir)
        closedir(dir);
    return failed;
}

int
fuzz_read_all(const char *program, fuzz_take_fn take, void *context)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    size_t n = strlen(name) - strlen("_fuzz");
    char folder[512];
    int failed = 0;

    for (const char *const *path = fuzz_seeds; *path; path++)
        failed |= fuzz_read(*path, take, context);
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%.*s", (int)n, name);
    return failed | fuzz_read_folder(folder, take, context);
}

const char *
fuzz_file(unsigned number, struct mr_span bytes)
{
    static int files[2] = {-1, -1};
    static char paths[2][64];
    int *file = &files[number];

    if (*file < 0) {
        *file = memfd_create("input", MFD_CLOEXEC);
        MR_ASSERT(*file >= 0);
        snprintf(paths[number], sizeof paths[number], "/proc/self/fd/%d", *file);
    }
    MR_ASSERT(ftruncate(*file, 0) == 0);
    for (size_t done = 0; done < bytes.n;) {
        ssize_t n = pwrite(*file, bytes.p + done, bytes.n - done, (off_t)done);

        MR_ASSERT(n > 0);
        done += (size_t)n;
    }
    return paths[number];
}
