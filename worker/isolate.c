#include "worker/isolate.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/settings.h"

bool
mr_isolate_is_on(const char *setting, const struct millrace_kind *kind)
{
    char name[80];

    if (strcmp(setting, "no") == 0)
        return false;
    if (kind->is_isolated || strcmp(setting, "yes") == 0)
        return true;
    while (mr_settings_next(&setting, name, sizeof name))
        if (strcmp(name, kind->name) == 0)
            return true;
    return false;
}

uint32_t
mr_isolate_memory_mib(const struct millrace_kind *kind, int64_t mib)
{
    return kind->memory_mib_max ? kind->memory_mib_max : (uint32_t)mib;
}

/* ---- how it ended ---------------------------------------------------------------------------- */

static const char *
advice_on(int number)
{
    static const struct {
        int number;
        const char *advice;
    } known[] = {
        {SIGSEGV, "it touched memory that is not its own, often after an allocation that "
                  "failed"},
        {SIGBUS, "it touched memory behind the end of a mapped file"},
        {SIGABRT,
            "it gave itself up: a failed assertion, a heap in ruins, an exception that "
            "nobody caught"},
        {SIGFPE, "it divided by zero, or the like"},
        {SIGILL, "it ran into what is no instruction"},
        {SIGSYS, "it made a system call that is not allowed"},
        {SIGKILL, "not by millrace: by the kernel when memory ran out, or by somebody"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].number == number)
            return known[i].advice;
    return "see the handler";
}

static int
describe_cause(const struct mr_isolate_end *end, char *out, size_t room)
{
    const char *name;
    int number;

    if (end->is_broken)
        return snprintf(out, room,
            "crashed: its process closed its connection to the worker or wrote into it, "
            "and "
            "was killed; a handler leaves descriptors alone that it did not open");
    if (WIFEXITED(end->wait_status))
        return snprintf(out, room,
            "crashed: its process exited with code %d in the middle of the job; a "
            "handler "
            "returns, it never exits",
            WEXITSTATUS(end->wait_status));
    number = WTERMSIG(end->wait_status);
    name = sigabbrev_np(number);
    if (!name)
        return snprintf(out, room, "crashed: its process was ended by signal %d", number);
    return snprintf(out, room, "crashed: its process was ended by SIG%s: %s", name,
        advice_on(number));
}

void
mr_isolate_describe(const struct mr_isolate_end *end, char *out, size_t room)
{
    long long grown_mib = end->grown_kib > 0 ? end->grown_kib / 1024 : 0;
    int n = describe_cause(end, out, room);

    if (n < 0 || (size_t)n >= room || !end->memory_mib)
        return;
    /* What was used is seen, what was asked for in vain is not: near is as good as there. */
    if (grown_mib >= end->memory_mib - end->memory_mib / 8)
        (void)snprintf(out + n, room - (size_t)n,
            "; it had used up its memory (%lld of %u MiB): find the leak, or raise the "
            "kind's "
            "memory_mib_max or the worker's isolate_memory_mib",
            grown_mib, end->memory_mib);
    else if (!end->is_broken && WIFSIGNALED(end->wait_status))
        (void)snprintf(out + n, room - (size_t)n, "; it had used %lld of its %u MiB",
            grown_mib, end->memory_mib);
}
