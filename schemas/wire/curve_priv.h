/*
 * What curve*.c share. Nobody else includes this: a secret is seen here only.
 */
#ifndef MR_WIRE_CURVE_PRIV_H
#define MR_WIRE_CURVE_PRIV_H

#include "schemas/wire/curve.h"

struct mr_curve {
    char public_key[MR_CURVE_ROOM], secret_key[MR_CURVE_ROOM];
};

#endif
