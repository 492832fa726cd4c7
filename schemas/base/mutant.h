/*
 * Deliberate bugs, for the proof that the checker of the chaos rig finds them (`make mutants`). In
 * every build but that one a mutant is the constant 0: no code, and no text of it in a binary.
 *
 *     if (MR_MUTANT(ack_before_commit))
 *         ...
 *
 * Built with -DMR_MUTANTS, the one that is named in the variable MILLRACE_MUTANT is alive. The
 * list with what each of them does is tests/chaos/mutants.list.
 */
#ifndef MR_BASE_MUTANT_H
#define MR_BASE_MUTANT_H

#ifdef MR_MUTANTS

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Any thread, as long as nobody changes the environment: nobody does. */
static inline bool
mr_mutant_is_alive(const char *name)
{
    const char *alive = getenv("MILLRACE_MUTANT");

    return alive && strcmp(alive, name) == 0;
}

#define MR_MUTANT(name) mr_mutant_is_alive(#name)

#else

#define MR_MUTANT(name) 0

#endif

#endif
