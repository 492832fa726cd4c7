/*
 * main() of a harness where there is no libFuzzer: gives it each file named, or else the
 * corpus and the golden messages. Run from the top folder. In a .txt file the rows "in HEX"
 * count, elsewhere the bytes as they are. Exit 0 unless a file cannot be read; a finding aborts.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (8u * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static unsigned inputs;

/* From memory that ends with the input, so that a sanitizer sees each byte too many. */
static void
feed(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact)
        abort();
    memcpy(exact, bytes, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    inputs++;
}

static void
feed_row(char *row)
{
    uint8_t *bytes = (uint8_t *)row; /* in place: two digits become a byte */
    size_t n = 0;
    unsigned byte;

    for (const char *hex = row; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        bytes[n++] = (uint8_t)byte;
    feed(bytes, n);
}

static void
feed_text(char *text)
{
    char *rest = text;
    for (char *row = strtok_r(text, "\n", &rest); row; row = strtok_r(NULL, "\n", &rest))
        if (strncmp(row, "in ", 3) == 0)
            feed_row(row + 3 + strspn(row + 3, " "));
}

static int
feed_file(const char *path)
{
    const char *dot = strrchr(path, '.');
    char *bytes = malloc(FILE_BYTES_MAX + 1);
    FILE *in = fopen(path, "rb");

    if (!bytes || !in) {
        fprintf(stderr, "cannot read %s\n", path);
        free(bytes);
        return 1;
    }
    size_t n = fread(bytes, 1, FILE_BYTES_MAX, in);
    bytes[n] = '\0';
    fclose(in);
    if (dot && strcmp(dot, ".txt") == 0)
        feed_text(bytes);
    else
        feed((const uint8_t *)bytes, n);
    free(bytes);
    return 0;
}

static int
feed_folder(const char *folder)
{
    char path[1024];
    struct dirent *entry;
    int failed = 0;
    DIR *dir = opendir(folder);

    if (!dir) {
        fprintf(stderr, "cannot read %s; run this from the top folder\n", folder);
        return 1;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        failed |= feed_file(path);
    }
    closedir(dir);
    return failed;
}

int
main(int argc, char **argv)
{
    int failed = 0;

    for (int i = 1; i < argc; i++)
        failed |= feed_file(argv[i]);
    if (argc == 1)
        failed = feed_folder("tests/fuzz/corpus") | feed_folder("schemas/wire/vectors");
    printf("%u inputs\n", inputs);
    return failed;
}
