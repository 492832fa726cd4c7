/*
 * One handle of the client library, many threads: each submits its own jobs and waits for them,
 * while the broker is killed once in between.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { THREADS = 32, JOBS_EACH = 40 };

static struct rig rig;
static struct millrace *mr;

struct caller {
    pthread_t thread;
    int succeeded;
    int code; /* of the first call that did not go well */
};

static void *
call(void *argument)
{
    struct caller *caller = argument;

    for (int i = 0; i < JOBS_EACH && caller->code == 0; i++) {
        struct millrace_result result;
        struct millrace_job job;

        millrace_job_init(&job, "test.noop");
        caller->code = millrace_run(mr, &job, RIG_WAIT_MS, &result, NULL);
        if (caller->code == 0 && result.outcome == MILLRACE_SUCCEEDED)
            caller->succeeded++;
        if (caller->code == 0)
            millrace_result_free(&result);
    }
    return NULL;
}

START_TEST(many_threads_on_one_handle)
{
    struct caller callers[THREADS] = {0};

    rig_open(&rig);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 4, NULL);
    mr = rig_client(&rig);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    rig_wait_stat(mr, "succeeded", 100);
    mr_proc_signal(&rig.broker, SIGKILL);
    rig_broker(&rig, NULL);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
        ck_assert_int_eq(callers[i].code, MILLRACE_OK);
        ck_assert_int_eq(callers[i].succeeded, JOBS_EACH);
    }
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.job"), THREADS * JOBS_EACH);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result"), THREADS * JOBS_EACH);
    millrace_close(mr);
    rig_close(&rig);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tcase = tcase_create("threads");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, many_threads_on_one_handle);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
