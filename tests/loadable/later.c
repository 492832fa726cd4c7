/* Built for an API that this worker does not know. */
#include "worker/millrace_worker.h"

const struct millrace_kind *const millrace_kinds[] = {NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API + 1;
