#include "schemas/wire/frames.h"

#include <zmq.h>

#include <errno.h>

static int
send_one(void *socket, struct mr_span frame, int flags)
{
    int rc;

    do
        rc = zmq_send(socket, frame.p, frame.n, flags | ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -1 : 0;
}

int
mr_frames_send(void *socket, struct mr_span message)
{
    size_t sent = 0;

    do {
        size_t left = message.n - sent;
        bool has_more = left > MR_WIRE_FRAME_BYTES_MAX;
        size_t n = has_more ? MR_WIRE_FRAME_BYTES_MAX : left;
        int rc =
            send_one(socket, mr_span(message.p + sent, n), has_more ? ZMQ_SNDMORE : 0);

        /* The first frame found room for the whole message. Once it is gone the others have to
         * follow, if only to be thrown away: libzmq waits for the last one. */
        if (rc < 0 && sent == 0)
            return -1;
        sent += n;
    } while (sent < message.n);
    return 0;
}
