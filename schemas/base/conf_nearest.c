#include "schemas/base/conf.h"

#include <string.h>

#include "schemas/base/conf_priv.h"

#define WORD_MAX 64 /* longer words have no near name */

static size_t
min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein's distance, one row of the table at a time. */
static size_t
distance(const char *a, size_t a_n, const char *b, size_t b_n)
{
    size_t row[WORD_MAX + 1];

    for (size_t j = 0; j <= b_n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_n; j++) {
            size_t above = row[j];

            row[j] = min3(row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_n];
}

const char *
mr_conf_nearest(
    const char *word, const char *const *names, size_t count, size_t distance_max)
{
    const char *best = NULL;
    size_t best_distance = distance_max + 1;
    size_t word_n = strlen(word);

    if (word_n > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(names[i]);
        size_t d = n > WORD_MAX ? best_distance : distance(word, word_n, names[i], n);

        /* As far away as it is long: nothing of it is the same. */
        if (d < best_distance && d < word_n) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

const char *
mr_nearest(const char *word, const char *const *names, size_t count)
{
    return mr_conf_nearest(word, names, count, MR_CONF_NEAR_MAX);
}
