/*
 * The broker knocks at its own doors before it says where they are: with a key that nobody can
 * know, in plain text, and with a password. Wherever one of them gets in, something between us
 * and libzmq is not as we think, and the broker does not start. Main's thread.
 */
#ifndef MR_BROKER_PROBE_H
#define MR_BROKER_PROBE_H

#include "schemas/base/status.h"

/* Two lists of endpoints as mr_socket_open gives them, of which those of tcp:// are looked at;
 * `server_key` is the public key of their owner. Takes some milliseconds. MR_DENIED: somebody
 * got in; MR_BAD_SETTING: a door could not be reached, so nothing is known about it;
 * MR_NO_MEMORY. */
enum mr_status mr_probe_run(void *context, const char *front, const char *back,
    const char *server_key, struct mr_err *err) MR_MUST_CHECK;

#endif
