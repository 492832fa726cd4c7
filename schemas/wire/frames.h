/*
 * How a message travels to the broker: in frames of MR_WIRE_FRAME_BYTES_MAX bytes, of which only the
 * last may be shorter. A frame is what libzmq keeps memory for before it knows who is at the
 * other end, so the broker's sockets let no larger one in; what a known peer has to say may
 * be MR_MESSAGE_BYTES_MAX long all the same. The broker's own messages are one frame.
 */
#ifndef MR_WIRE_FRAMES_H
#define MR_WIRE_FRAMES_H

#include <stdbool.h>

#include "schemas/base/span.h"
#include "schemas/wire/limits.h"

/* Never blocks. 0, or -1 with errno as zmq_send has it, EAGAIN among them: nothing was sent. A
 * connection that is lost between two frames takes the message with it, as it may any other
 * that is on its way: that is 0. The socket's thread. */
int mr_frames_send(void *socket, struct mr_span message);

/* Whether a frame of n bytes that comes when `before` bytes of its message are there is as it
 * should be. */
static inline bool
mr_frame_fits(size_t before, size_t n, bool is_last)
{
    return (is_last ? n > 0 && n <= MR_WIRE_FRAME_BYTES_MAX
                    : n == MR_WIRE_FRAME_BYTES_MAX) &&
           before + n <= MR_MESSAGE_BYTES_MAX;
}

#endif
