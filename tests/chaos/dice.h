/*
 * Numbers from a seed: splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators", 2014). The same in every process, so that a run's schedule and its jobs are
 * functions of its seed.
 */
#ifndef MR_CHAOS_DICE_H
#define MR_CHAOS_DICE_H

#include <stdint.h>

struct mr_dice {
    uint64_t state;
};

static inline uint64_t
mr_dice_next(struct mr_dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 to sides - 1; sides is not 0. */
static inline uint32_t
mr_dice_below(struct mr_dice *dice, uint32_t sides)
{
    return (uint32_t)((mr_dice_next(dice) >> 32) * sides >> 32);
}

/* low to high, both included. */
static inline uint32_t
mr_dice_between(struct mr_dice *dice, uint32_t low, uint32_t high)
{
    return low + mr_dice_below(dice, high - low + 1);
}

/* Dice of their own for (seed, a, b). */
static inline struct mr_dice
mr_dice_of(uint64_t seed, uint64_t a, uint64_t b)
{
    struct mr_dice dice = {seed};

    dice.state = mr_dice_next(&dice) ^ a;
    dice.state = mr_dice_next(&dice) ^ b;
    return dice;
}

#endif
