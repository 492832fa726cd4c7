/*
 * The kinds that are built into the worker. One file each, the descriptor on top; the table is
 * in kinds.c. Constants, any thread.
 */
#ifndef MR_KINDS_KINDS_H
#define MR_KINDS_KINDS_H

#include "worker/millrace_worker.h"

/* Ended by NULL, in the order of their names. */
extern const struct millrace_kind *const mr_kinds_builtin[];

extern const struct millrace_kind mr_kind_calc_ep;
extern const struct millrace_kind mr_kind_calc_ep_run;
extern const struct millrace_kind mr_kind_calc_ep_sum;
extern const struct millrace_kind mr_kind_fare_quote;
extern const struct millrace_kind mr_kind_pay_charge;
extern const struct millrace_kind mr_kind_ride_finish;
extern const struct millrace_kind mr_kind_ride_match;
extern const struct millrace_kind mr_kind_ride_request;
extern const struct millrace_kind mr_kind_route_matrix;
extern const struct millrace_kind mr_kind_route_plan;
extern const struct millrace_kind mr_kind_test_crash;
extern const struct millrace_kind mr_kind_test_fail;
extern const struct millrace_kind mr_kind_test_hang;
extern const struct millrace_kind mr_kind_test_noop;
extern const struct millrace_kind mr_kind_test_sleep;
extern const struct millrace_kind mr_kind_test_spin;

#endif
