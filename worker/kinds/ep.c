#include "worker/kinds/ep.h"

#include <math.h>

#define MULTIPLIER UINT64_C(1220703125)
#define SEED UINT64_C(271828183)
#define MASK ((UINT64_C(1) << 46) - 1)

enum { STOP_EVERY = 1 << 16 };

/* The modulus divides 2^64, so unsigned wrap-around loses nothing that counts. */
static uint64_t
power(uint64_t base, uint64_t exponent)
{
    uint64_t result = 1;

    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result = result * base & MASK;
        base = base * base & MASK;
    }
    return result;
}

/* The next number of the sequence, mapped to (-1, 1): exact, 46 bits fit a double. */
static double
draw(uint64_t *x)
{
    *x = *x * MULTIPLIER & MASK;
    return 2.0 * ((double)*x * 0x1p-46) - 1.0;
}

/* Marsaglia's polar method; the ring is the larger of the two deviates, cut off. */
static void
pair(uint64_t *x, struct mr_ep *out)
{
    double a = draw(x), b = draw(x);
    double t = a * a + b * b;
    double factor, gx, gy, larger;

    if (t > 1.0)
        return;
    factor = sqrt(-2.0 * log(t) / t);
    gx = a * factor;
    gy = b * factor;
    larger = fmax(fabs(gx), fabs(gy));
    if (larger < MR_EP_RINGS)
        out->counts[(int)larger]++;
    out->pairs++;
    out->sx += gx;
    out->sy += gy;
}

bool
mr_ep_block(unsigned m, uint64_t k, uint64_t blocks, mr_ep_stop_fn stop,
    const void *context, struct mr_ep *out)
{
    uint64_t pairs = (UINT64_C(1) << m) / blocks;
    uint64_t x = SEED * power(MULTIPLIER, 2 * pairs * k) & MASK;

    *out = (struct mr_ep){.pairs = 0};
    for (uint64_t i = 0; i < pairs; i++) {
        pair(&x, out);
        if (i % STOP_EVERY == STOP_EVERY - 1 && stop && stop(context))
            return false;
    }
    return true;
}
