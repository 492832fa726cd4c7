/*
 * The two ROUTERs: made, bound, closed. Every option that keeps a peer from hurting us is set
 * here, before bind. Sends never block. The loop's thread.
 */
#ifndef MR_BROKER_SOCKET_H
#define MR_BROKER_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/session.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/curve.h"

/* How those who connect to `endpoint` are let in. With a key: by theirs on every tcp://. Without
 * one: as they come, from this host, or from anywhere. */
enum mr_curve_way mr_socket_way(const char *endpoint, bool has_key);

/* Bind to every endpoint of the list; `bound` gets what came of it (ports filled in),
 * separated by commas; `first_number` what door.h is about. `key` may be NULL. The handler of
 * zap.h is there. MR_ADDRESS_IN_USE, MR_DENIED, MR_BAD_SETTING, MR_NO_MEMORY. */
enum mr_status mr_socket_open(void **out, void *context, const char *endpoints,
    const struct mr_curve *key, char *bound, size_t bound_bytes, uint32_t *first_number,
    struct mr_err *err) MR_MUST_CHECK;

/* What is on its way gets linger_ms. */
void mr_socket_close(void **socket, int linger_ms);

#define MR_LOGIN_MS 5000 /* who has not logged in by then is cut off */

enum mr_sent { MR_SENT, MR_SENT_FULL, MR_SENT_NOBODY };

/* One message of one frame to one address. FULL: it does not read fast enough. NOBODY: there
 * is no such connection (any more). */
enum mr_sent mr_socket_send(void *socket, struct mr_span routing, struct mr_span bytes);

#endif
