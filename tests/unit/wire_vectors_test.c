/* The golden messages of schemas/wire/vectors, both ways. Run from the top folder. */
#include <dirent.h>
#include <stdlib.h>

#include <check.h>

#include "tests/support/wire_echo.h"

#define FOLDER "schemas/wire/vectors"
#define LINE_BYTES_MAX 65536

/* One case of a file; its rows as they stand there, empty if there is no such row. */
struct vector {
    char title[256], in[LINE_BYTES_MAX], says[LINE_BYTES_MAX], out[LINE_BYTES_MAX];
    char refused[32];
};

static struct vector now;
static unsigned good_per_verb[MR_VERB_COUNT], bad_cases;

static struct mr_span
from_hex(const char *hex, uint8_t *into)
{
    size_t n = strlen(hex) / 2;
    ck_assert_uint_eq(strlen(hex) % 2, 0);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        into[i] = (uint8_t)byte;
    }
    return mr_span(into, n);
}

static void
accepts(const char *file, struct mr_span in)
{
    static uint8_t expected[LINE_BYTES_MAX];
    struct mr_msg msg;
    struct mr_wr wr;
    char *line = NULL;
    size_t line_bytes;
    FILE *out = open_memstream(&line, &line_bytes);

    ck_assert_ptr_nonnull(out);
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    enum mr_status status = echo_message(in, out, &wr);
    fclose(out);
    ck_assert_msg(status == MR_OK, "%s: %s: refused as %s", file, now.title,
        mr_status_name(status));
    ck_assert_msg(strcmp(line, now.says) == 0, "%s: %s:\nread     %s\nexpected %s", file,
        now.title, line, now.says);
    struct mr_span wanted = now.out[0] ? from_hex(now.out, expected) : in;
    ck_assert_msg(wr.status == MR_OK && mr_span_eq(mr_wr_span(&wr), wanted),
        "%s: %s: other bytes are written than expected", file, now.title);
    ck_assert_int_eq(mr_msg_open(in, &msg), MR_OK);
    good_per_verb[msg.verb]++;
    mr_wr_fini(&wr);
    free(line);
}

static void
refuses(const char *file, struct mr_span in)
{
    char *line = NULL;
    size_t line_bytes;
    struct mr_wr wr;
    FILE *out = open_memstream(&line, &line_bytes);

    ck_assert_ptr_nonnull(out);
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    enum mr_status status = echo_message(in, out, &wr);
    fclose(out);
    ck_assert_msg(strcmp(mr_status_name(status), now.refused) == 0,
        "%s: %s: %s, expected %s", file, now.title, mr_status_name(status), now.refused);
    bad_cases++;
    mr_wr_fini(&wr);
    free(line);
}

/* A copy that ends where its memory ends, so that the sanitizer sees each byte too many. */
static void
play(const char *file)
{
    static uint8_t bytes[LINE_BYTES_MAX];
    struct mr_span in = from_hex(now.in, bytes);
    uint8_t *exact = malloc(in.n ? in.n : 1);

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, in.n);
    if (now.refused[0])
        refuses(file, mr_span(exact, in.n));
    else
        accepts(file, mr_span(exact, in.n));
    free(exact);
}

static void
take_row(char *row)
{
    static const struct {
        const char *key;
        char *into;
        size_t room;
    } rows[] = {{"in", now.in, sizeof now.in}, {"says", now.says, sizeof now.says},
        {"out", now.out, sizeof now.out}, {"refused", now.refused, sizeof now.refused}};
    char *value = row + strcspn(row, " ");

    if (*value)
        *value++ = '\0';
    value += strspn(value, " ");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(row, rows[i].key) == 0) {
            ck_assert_uint_lt(strlen(value), rows[i].room);
            memcpy(rows[i].into, value, strlen(value) + 1);
            return;
        }
    }
    ck_abort_msg("unknown row '%s'", row);
}

static void
play_file(const char *file)
{
    static char line[LINE_BYTES_MAX];
    char path[512];
    bool has_case = false;

    snprintf(path, sizeof path, FOLDER "/%s", file);
    FILE *in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#') {
            take_row(line);
            has_case = true;
            continue;
        }
        if (has_case)
            play(file);
        has_case = false;
        now = (struct vector){.title = ""};
        snprintf(now.title, sizeof now.title, "%.250s", line[0] ? line + 2 : "");
    }
    if (has_case)
        play(file);
    fclose(in);
}

START_TEST(every_message_is_read_and_written_as_the_vectors_say)
{
    DIR *folder = opendir(FOLDER);
    struct dirent *entry;

    ck_assert_msg(folder != NULL, "run this from the top folder of the project");
    while ((entry = readdir(folder)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".txt") == 0)
            play_file(entry->d_name);
    }
    closedir(folder);
    for (int verb = 0; verb < MR_VERB_COUNT; verb++)
        ck_assert_msg(good_per_verb[verb] > 0, "no good vector of %s",
            mr_verb_name((enum mr_verb)verb));
    ck_assert_uint_ge(bad_cases, 100);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire/vectors");
    TCase *tcase = tcase_create("vectors");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, every_message_is_read_and_written_as_the_vectors_say);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
