#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static enum millrace_answer
run(struct millrace_job *job)
{
    static const struct {
        const char *name;
        int number;
    } ways[] = {
        {"segv", SIGSEGV}, {"abort", SIGABRT}, {"kill", SIGKILL}, {"fpe", SIGFPE}};
    const char *how;

    if (!mr_args_str(job, "how", "segv", 16, &how))
        return MILLRACE_FAILED_FOR_GOOD;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(ways[i].name, how) == 0) {
            raise(ways[i].number);
            abort(); /* something has blocked the signal */
        }
    }
    return millrace_fail_for_good(job, "\"how\" must be segv, abort, kill or fpe");
}

const struct millrace_kind mr_kind_test_crash = {
    .name = "test.crash",
    .help = "{\"how\":\"segv\"|\"abort\"|\"kill\"|\"fpe\"} -> the end of the worker's "
            "process",
    .run = run,
};
