/* What door.c and door_watch.c share. */
#ifndef MR_BROKER_DOOR_PRIV_H
#define MR_BROKER_DOOR_PRIV_H

#include "broker/door.h"

#define MR_NO_FD UINT32_MAX

enum mr_door_state { MR_DOOR_NOBODY, MR_DOOR_STRANGER, MR_DOOR_KNOWN };

/* A connection; its number is its file descriptor. */
struct mr_door_peer {
    uint64_t cookie;        /* the kernel's name of it: numbers are used again */
    uint64_t heard;         /* bytes of messages */
    uint64_t taken;         /* bytes that libzmq had taken when we asked last */
    uint64_t bytes_open;    /* of them, of a message whose end has not come */
    uint32_t segments;      /* that had come by then */
    uint32_t segments_open; /* of them, about so many with bytes_open */
    int64_t since_us;       /* a stranger: accepted */
    int64_t suspect_us;     /* 0: it is not */
    uint32_t older, newer;  /* strangers */
    uint8_t state;          /* enum mr_door_state */
    bool is_leaving;        /* a stranger that was shown out */
    bool is_shut;           /* shown out by door_watch.c */
    uint8_t side;
};

struct mr_door {
    struct mr_door_peer *peers;
    uint32_t peers_max, peers_end; /* above peers_end there was none yet */
    uint32_t oldest, newest;       /* stranger */
    uint32_t wanted;               /* descriptors of strangers, to be free again */
    uint32_t leaving;              /* shown out, not gone yet */
    bool is_failing[2];            /* the next of that side to go broke off its login */
    int64_t complain_us;           /* not sooner about file descriptors */
    int64_t look_us;               /* at our memory */
    uint64_t resident;             /* when we last asked them all, or less */
    bool has_suspects;
    int statm;
    struct mr_door_counters counters;
};

/* Strangers who had their time; when to come again. */
int64_t mr_door_end_silence(struct mr_broker *broker, bool is_drained);

/* The number may be somebody else's meanwhile: true if it was this one. */
bool mr_door_show_out(const struct mr_door *door, uint32_t fd);

#endif
