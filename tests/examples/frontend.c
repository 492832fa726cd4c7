/* A front end in 40 lines: submits ten jobs at once, prints how each of them ended. */
#include <millrace.h>

#include <stdio.h>

static int
quit(const struct millrace_error *error)
{
    fprintf(stderr, "%s %s %s\n", error->what, error->why, error->todo);
    return 1;
}

int
main(int argc, char **argv)
{
    struct millrace_options options = {.endpoints = argc > 1 ? argv[1] : NULL};
    struct millrace_completion done;
    struct millrace_error error;
    struct millrace *mr = millrace_open(&options, &error);
    int failed = 0;

    if (!mr)
        return quit(&error);
    for (int i = 0; i < 10; i++) {
        struct millrace_pack args = {.bytes = NULL};
        struct millrace_job job;

        millrace_pack_map(&args, 1); /* {"ms": 10 * i} */
        millrace_pack_str(&args, "ms");
        millrace_pack_int(&args, 10 * i);
        millrace_job_init(&job, argc > 2 ? argv[2] : "test.sleep");
        job.args = args.bytes;
        job.args_bytes = args.n;
        if (millrace_submit_start(mr, &job, MILLRACE_UNTIL_FINISHED, 30000, NULL, &error))
            return quit(&error);
        millrace_pack_free(&args);
    }
    for (int i = 0; i < 10 && millrace_finish(mr, MILLRACE_FOREVER, &done); i++) {
        printf("%s\n",
            done.code ? done.error.why : millrace_outcome_name(done.result.outcome));
        failed += done.code != 0 || done.result.outcome != MILLRACE_SUCCEEDED;
        millrace_result_free(&done.result);
    }
    millrace_close(mr);
    return failed != 0;
}
