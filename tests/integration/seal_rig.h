/*
 * A broker, workers with the kinds of loadable/seal.c, and keyrings, for the tests of sealed payloads.
 */
#ifndef MR_TESTS_INTEGRATION_SEAL_RIG_H
#define MR_TESTS_INTEGRATION_SEAL_RIG_H

#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Its bytes' sum is 956, says python3: sum(map(ord, "MARKER-7f3a9c")). */
#define MARKER "MARKER-7f3a9c"
#define SUM "956"
#define ARGS "'{\"marker\":\"" MARKER "\"}' "
/* Not sealed, to see that what looks for it would find it. */
#define CONTROL "CONTROL-51b0e2"
#define UNFINISHED                                                                       \
    "select count(*) from millrace.job j where not exists (select from millrace.result " \
    "r where r.id = j.id)"

static struct rig rig;
static char keys[] = "/tmp/millrace-keys-XXXXXX";
static char ring[128], other[128];
static char text[1 << 20], line[2 * PATH_MAX];

static void runs(int code, const char *format, ...) MR_PRINTF(2, 3);

/* "$0" is the command, "$R" the keyring, "$O" another one. */
static inline void
runs(int code, const char *format, ...)
{
    va_list args;
    int got;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    got = rig_sh(&rig, line, text, sizeof text);
    ck_assert_msg(got == code, "%s: %d, not %d: %s", line, got, code, text);
}

static inline void
shows(const char *wanted)
{
    ck_assert_msg(strstr(text, wanted) != NULL, "\"%s\" is not in: %s", wanted, text);
}

static inline void
hides(const char *unwanted)
{
    ck_assert_msg(!strstr(text, unwanted), "\"%s\" is in: %s", unwanted, text);
}

static inline void
set_up(void)
{
    memcpy(keys + strlen(keys) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(keys));
    (void)snprintf(ring, sizeof ring, "%s/ring", keys);
    (void)snprintf(other, sizeof other, "%s/other", keys);
    ck_assert(setenv("R", ring, 1) == 0 && setenv("O", other, 1) == 0 &&
              setenv("K", keys, 1) == 0);
    rig_open(&rig);
    rig_broker(&rig, (const char *const[]){"--log-level", "debug", NULL});
    runs(0, "$0 seal new $R && $0 seal new $O");
}

static inline void
tear_down(void)
{
    runs(0, "rm -r $K");
    rig_close(&rig);
}

/* With the kinds of loadable/seal.c; `more` ends with NULL. */
static inline void
work(int number, const char *const *more)
{
    const char *all[16] = {
        "--load", rig_program("tests/loadable/seal.so"), "--log-level", "debug"};
    int n = 4;

    for (; *more; more++)
        all[n++] = *more;
    rig_worker(&rig, number, 2, all);
}

static inline void
work_with(int number, const char *path)
{
    work(number, (const char *const[]){"--seal-file", path, NULL});
}

static inline void
stop_worker(int number)
{
    ck_assert(mr_proc_stop(&rig.workers[number], SIGTERM, RIG_WAIT_MS));
}

static inline struct millrace *
client_with(const char *path)
{
    struct millrace_options options = {.endpoints = rig.front, .seal_file = path};
    struct millrace_error error;
    struct millrace *mr = millrace_open(&options, &error);

    ck_assert_msg(mr != NULL, "%s", error.why);
    return mr;
}

/* {"marker": TEXT}, to be freed by the caller. */
static inline struct millrace_pack
marker_args(const char *marker)
{
    struct millrace_pack pack = {.n = 0};

    millrace_pack_map(&pack, 1);
    millrace_pack_str(&pack, "marker");
    millrace_pack_str(&pack, marker);
    return pack;
}

static inline int
submit_marker(
    struct millrace *mr, const char *kind, struct millrace_id id, const char *marker)
{
    struct millrace_pack args = marker_args(marker);
    struct millrace_job job;
    int code;

    millrace_job_init(&job, kind);
    job.id = id;
    job.args = args.bytes;
    job.args_bytes = args.n;
    code = rig_verdict(mr, &job);
    millrace_pack_free(&args);
    return code;
}

#endif
