/*
 * Every invariant that can be seen from inside; aborts on the first that does not hold. For
 * tests and the simulator: linear in everything.
 */
#ifndef MR_CORE_CHECK_H
#define MR_CORE_CHECK_H

#include "broker/core/core_priv.h"

void mr_check_all(const struct mr_core *core);

#endif
