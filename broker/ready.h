/*
 * How others learn where the broker listens: a file that appears, whole, when it serves.
 * Lines "front ENDPOINT" and "back ENDPOINT", one for each endpoint. Main's thread.
 */
#ifndef MR_BROKER_READY_H
#define MR_BROKER_READY_H

#include "schemas/base/status.h"

/* `path` empty: nothing to do. The lists are separated by commas. MR_BAD_SETTING. */
enum mr_status mr_ready_write(const char *path, const char *front, const char *back,
    struct mr_err *err) MR_MUST_CHECK;

void mr_ready_remove(const char *path);

#endif
