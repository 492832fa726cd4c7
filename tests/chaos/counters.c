#include "tests/chaos/counters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"

#define EVERY_US 300000
#define ANSWER_MS 100
#define LINE_BYTES_MAX 4096

static const char *const stats[MR_COUNTERS_STATS] = {"submitted", "known", "succeeded",
    "failed", "retried", "lost", "timed_out", "stale", "adopted", "quarantined"};

/* Lines that hold a word, in the logs of one program. */
static const struct {
    const char *name;
    enum { OF_DATABASE, OF_BROKER, OF_WORKER } of;
    const char *word;
    const char *each; /* key of a number that is added instead of 1, if the line has it */
} lines[] = {
    {"fenced", OF_DATABASE, " MR001 ERROR:", NULL},
    {"refused_finishes", OF_DATABASE, " MR002 ERROR:", NULL},
    {"backends_ended", OF_DATABASE, " 57P01 FATAL:", NULL},
    {"in_doubt_settled", OF_WORKER, " settled ", NULL},
    {"in_doubt_settled", OF_BROKER, " settled ", NULL},
    {"late_results", OF_WORKER, " late ", " results="},
    {"broker_lives", OF_BROKER, " serving ", NULL},
    {"worker_lives", OF_WORKER, " connected ", NULL},
};

enum mr_status
mr_counters_open(
    struct mr_counters_book *book, const struct mr_crew *crew, struct mr_err *err)
{
    struct millrace_options options = {
        .endpoints = crew->net.front, .name = "chaos", .is_insecure = 1};
    struct millrace_error error;

    *book = (struct mr_counters_book){.mr = millrace_open(&options, &error)};
    if (book->mr)
        return MR_OK;
    return mr_err_set(err, MR_INTERNAL, error.what, error.why, error.todo);
}

void
mr_counters_close(struct mr_counters_book *book)
{
    millrace_close(book->mr);
    book->mr = NULL;
}

void
mr_counters_turn(struct mr_counters_book *book, struct mr_crew *crew)
{
    void *reply = NULL;
    size_t n = 0;

    if (mr_clock_now().mono_us < book->next_us || !mr_actor_runs(&crew->broker) ||
        crew->broker.is_frozen)
        return;
    if (crew->broker.proc.pid != book->pid)
        memset(book->last, 0, sizeof book->last);
    book->pid = crew->broker.proc.pid;
    if (millrace_call(book->mr, "stats", NULL, 0, ANSWER_MS, &reply, &n, NULL) ==
        MILLRACE_OK) {
        for (int i = 0; i < MR_COUNTERS_STATS; i++) {
            int64_t value = 0;

            if (millrace_get_int(reply, n, stats[i], &value) && value > book->last[i]) {
                book->sums[i] += value - book->last[i];
                book->last[i] = value;
            }
        }
    }
    free(reply);
    book->next_us = mr_clock_now().mono_us + EVERY_US;
}

int64_t
mr_counters_sum(const struct mr_counters_book *book, const char *name)
{
    for (int i = 0; i < MR_COUNTERS_STATS; i++) {
        if (strcmp(stats[i], name) == 0)
            return book->sums[i];
    }
    return 0;
}

/* ---- logs ------------------------------------------------------------------------------------------- */

static int64_t
count_lines(const char *path, const char *word, const char *each)
{
    char line[LINE_BYTES_MAX];
    FILE *file = fopen(path, "re");
    int64_t count = 0;

    while (file && fgets(line, sizeof line, file)) {
        const char *number = each ? strstr(line, each) : NULL;

        if (strstr(line, word))
            count += number ? strtoll(number + strlen(each), NULL, 10) : 1;
    }
    if (file)
        (void)fclose(file);
    return count;
}

static int64_t
count_in_logs(const struct mr_crew *crew, size_t i)
{
    char path[PATH_MAX + 32];
    int64_t count = 0;

    if (lines[i].of == OF_DATABASE)
        return count_lines(
            mr_cluster_log_path(crew->cluster), lines[i].word, lines[i].each);
    for (int n = 0; n < (lines[i].of == OF_BROKER ? 1 : MR_CREW_WORKERS); n++) {
        (void)snprintf(path, sizeof path, "%s/%s-%d.log", crew->folder,
            lines[i].of == OF_BROKER ? "broker" : "worker", n);
        count += count_lines(path, lines[i].word, lines[i].each);
    }
    return count;
}

enum mr_status
mr_counters_write(
    const struct mr_counters_book *book, const struct mr_crew *crew, struct mr_err *err)
{
    char path[PATH_MAX + 32];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/counters.log", crew->folder);
    file = fopen(path, "we");
    if (!file)
        return mr_err_set(err, MR_DENIED, "counters.log cannot be written", path, NULL);
    for (int i = 0; i < MR_COUNTERS_STATS; i++)
        (void)fprintf(file, "broker.%s %" PRId64 "\n", stats[i], book->sums[i]);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        (void)fprintf(file, "%s %" PRId64 "\n", lines[i].name, count_in_logs(crew, i));
    (void)fprintf(
        file, "losses_max %s\ndrain_s_max %d\n", MR_CREW_LOSSES_MAX, MR_CREW_DRAIN_S_MAX);
    (void)fprintf(file, "surprises %" PRIu32 "\n", crew->surprises);
    return fclose(file) == 0
               ? MR_OK
               : mr_err_set(err, MR_STORE_FULL, "counters.log is not whole", path, NULL);
}
