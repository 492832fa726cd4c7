#include "tests/flagship/demo_show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"

enum { NAME_COLUMNS = 26 };

static const char green[] = "\033[32m", red[] = "\033[1;31m", bold[] = "\033[1m",
                  faint[] = "\033[2m", plain[] = "\033[0m";

static const char *
paint(const struct mr_demo_show *show, const char *colour)
{
    return show->has_colour ? colour : "";
}

void
mr_demo_show_open(struct mr_demo_show *show)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");

    *show = (struct mr_demo_show){.began_us = mr_clock_now().mono_us};
    show->has_colour = isatty(STDOUT_FILENO) && term && *term &&
                       strcmp(term, "dumb") != 0 && !(no_colour && *no_colour);
    /* By lines, also into a pipe. */
    setvbuf(stdout, NULL, _IOLBF, 0);
}

double
mr_demo_show_seconds(const struct mr_demo_show *show)
{
    return (double)(mr_clock_now().mono_us - show->began_us) / 1e6;
}

void
mr_demo_show_begin(struct mr_demo_show *show, const char *phase)
{
    show->phase_us = mr_clock_now().mono_us;
    printf("%5.1f s  %s%s%s\n", mr_demo_show_seconds(show), paint(show, bold), phase,
        paint(show, plain));
}

void
mr_demo_show_end(struct mr_demo_show *show, const char *format, ...)
{
    double took = (double)(mr_clock_now().mono_us - show->phase_us) / 1e6;
    va_list args;

    printf("         ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("%s (%.1f s)%s\n", paint(show, faint), took, paint(show, plain));
}

void
mr_demo_show_line(struct mr_demo_show *show, const char *format, ...)
{
    va_list args;

    (void)show;
    printf("         ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void
mr_demo_show_verdict(struct mr_demo_show *show, bool is_good, const char *text)
{
    printf("\n%s%s%s\n", paint(show, is_good ? green : red), text, paint(show, plain));
}

void
mr_demo_show_error(struct mr_demo_show *show, const struct mr_err *err)
{
    printf("\n%s%s%s\n  because: %s\n  %s\n", paint(show, red), err->what,
        paint(show, plain), err->why, err->todo);
}

/* Cut or filled to NAME_COLUMNS characters; in UTF-8, continuation bytes take no room. */
static void
print_name(const char *name)
{
    int columns = 0;

    for (; *name && !(columns == NAME_COLUMNS && ((unsigned char)*name & 0xc0) != 0x80);
         name++) {
        if (((unsigned char)*name & 0xc0) != 0x80)
            columns++;
        putchar(*name);
    }
    printf("%*s", NAME_COLUMNS - columns, "");
}

void
mr_demo_show_one(struct mr_demo_show *show, const struct mr_demo_show_ride *ride)
{
    printf("  %s%3" PRIu32 "/%" PRIu32 "%s  ", paint(show, faint), ride->n, ride->of,
        paint(show, plain));
    print_name(ride->from);
    printf(" -> ");
    print_name(ride->to);
    if (!ride->vehicle) {
        printf(" %s%s%s\n", paint(show, red), ride->state, paint(show, plain));
        return;
    }
    printf(" %-6s pickup %2" PRId64 ":%02" PRId64 "  ride %2" PRId64 ":%02" PRId64
           "  %s%3" PRId64 ".%02" PRId64 " EUR%s\n",
        ride->vehicle, ride->pickup_ms / 60000, ride->pickup_ms / 1000 % 60,
        ride->route_ms / 60000, ride->route_ms / 1000 % 60, paint(show, green),
        ride->fare_cents / 100, ride->fare_cents % 100, paint(show, plain));
}

const char *
mr_demo_show_grouped(int64_t v, char out[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, v);
    char *p = out;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}
