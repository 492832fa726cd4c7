/*
 * The network where there are no namespaces: a process that stands in front of everything and
 * passes bytes on, holds them back, or resets connections, as a board in shared memory says. The
 * driver writes the board, the proxy reads it.
 */
#ifndef MR_CHAOS_PROXY_H
#define MR_CHAOS_PROXY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MR_PROXY_DOORS_MAX 8

enum mr_proxy_mode {
    MR_PROXY_PASS,
    MR_PROXY_HOLD,  /* nothing passes, nothing is lost: it arrives when the door opens */
    MR_PROXY_RESET, /* connections are reset, new ones too */
    MR_PROXY_DELAY, /* each piece waits MR_PROXY_DELAY_MS */
    MR_PROXY_TWICE, /* each message passes twice; not where ZMTP is not spoken */
};

#define MR_PROXY_DELAY_MS 150

struct mr_proxy_door {
    uint16_t port, to_port; /* of 127.0.0.1; to_port 0: to the socket at `path` */
    char path[100];
    bool is_zmtp;
    _Atomic int mode;
};

struct mr_proxy_board {
    uint32_t count;
    _Atomic int is_open; /* the proxy listens */
    struct mr_proxy_door doors[MR_PROXY_DOORS_MAX];
};

/* `path`: the board's file. Runs until it is killed; an exit code if it cannot. */
int mr_proxy_run(const char *path);

#endif
