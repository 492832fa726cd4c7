#include "schemas/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"

#define LINE_BYTES_MAX 1024
#define THREAD_NAME_MAX 16 /* the kernel's own limit, with the terminator */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* Written once, before threads start. */
static const char *program_name = "millrace";
static enum mr_log_level level_max = MR_LOG_INFO;

static _Thread_local char thread_name[THREAD_NAME_MAX] = "main";

void
mr_log_open(const char *program, enum mr_log_level level)
{
    program_name = program;
    level_max = level;
}

void
mr_log_thread(const char *name)
{
    snprintf(thread_name, sizeof thread_name, "%s", name);
    /* Only a help for debuggers: it cannot fail with a name that fits. */
    (void)pthread_setname_np(pthread_self(), thread_name);
}

/* A line is a line whatever its parts hold: nobody forges a second one, or moves a cursor. */
static void
clean(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
    }
}

static size_t
clamp(int written, size_t room)
{
    if (written < 0)
        return 0;
    return (size_t)written < room ? (size_t)written : room - 1;
}

static void
write_whole(const char *line, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t written = write(STDERR_FILENO, line + done, n - done);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody is left to be told */
        done += (size_t)written;
    }
}

void
mr_log(enum mr_log_level level, const char *event, const char *format, ...)
{
    char line[LINE_BYTES_MAX];
    char stamp[28];
    int saved = errno;
    va_list args;
    size_t n;

    if (level > level_max)
        return;
    mr_clock_format(mr_clock_now().wall_us, stamp);
    n = clamp(snprintf(line, sizeof line, "%s %s %s/%s %s ", stamp, level_names[level],
                  program_name, thread_name, event),
        sizeof line);
    va_start(args, format);
    n += clamp(vsnprintf(line + n, sizeof line - n, format, args), sizeof line - n);
    va_end(args);
    clean(line, n);
    line[n++] = '\n'; /* takes the terminator's place */
    write_whole(line, n);
    errno = saved;
}

bool
mr_log_level_parse(const char *text, enum mr_log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum mr_log_level)i;
            return true;
        }
    }
    return false;
}
