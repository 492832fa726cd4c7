#include "worker/road/decimal.h"

#include <stddef.h>
#include <string.h>

#define VALUE_MAX INT64_C(1000000000000)

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits after the point: `places` of them count, the next one rounds. */
static const char *
fraction(const char *p, const char *end, int places, int64_t *v, int *digits)
{
    for (int i = 0; i < places; i++) {
        bool has = p < end && is_digit(*p);

        *v = *v * 10 + (has ? *p - '0' : 0);
        p += has;
        *digits += has;
    }
    if (p < end && is_digit(*p) && *p >= '5')
        (*v)++;
    for (; p < end && is_digit(*p); p++)
        (*digits)++;
    return p;
}

static bool
parse(const char *p, const char *end, int places, int64_t *out)
{
    bool is_negative = p < end && *p == '-';
    int64_t v = 0;
    int digits = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end && is_digit(*p); p++, digits++) {
        if (v > VALUE_MAX)
            return false;
        v = v * 10 + (*p - '0');
    }
    if (v > VALUE_MAX)
        return false;
    if (p < end && *p == '.')
        p = fraction(p + 1, end, places, &v, &digits);
    else
        p = fraction(p, p, places, &v, &digits);
    if (p != end || digits == 0 || v > VALUE_MAX)
        return false;
    *out = is_negative ? -v : v;
    return true;
}

bool
mr_decimal_hundredths(const char *text, int64_t *out)
{
    return text && parse(text, text + strlen(text), 2, out);
}

bool
mr_decimal_part(const char *text, const char *end, int64_t *out)
{
    return text && parse(text, end, 2, out);
}

bool
mr_decimal_thousandths(const char *text, int64_t *out)
{
    return text && parse(text, text + strlen(text), 3, out);
}
