#include "worker/kinds/kinds.h"

#include <stddef.h>

const struct millrace_kind *const mr_kinds_builtin[] = {
    &mr_kind_calc_ep,
    &mr_kind_calc_ep_run,
    &mr_kind_calc_ep_sum,
    &mr_kind_fare_quote,
    &mr_kind_pay_charge,
    &mr_kind_ride_finish,
    &mr_kind_ride_match,
    &mr_kind_ride_request,
    &mr_kind_route_matrix,
    &mr_kind_route_plan,
    &mr_kind_test_crash,
    &mr_kind_test_fail,
    &mr_kind_test_hang,
    &mr_kind_test_noop,
    &mr_kind_test_sleep,
    &mr_kind_test_spin,
    NULL,
};
