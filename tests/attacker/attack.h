/*
 * What somebody may try against a broker, row by row: strangers, and holders of a good key with bad
 * intent. attack.c has the target and the frame around each row; a row does its worst and says
 * how often the broker must have counted it.
 */
#ifndef MR_TESTS_ATTACKER_ATTACK_H
#define MR_TESTS_ATTACKER_ATTACK_H

#include "tests/attacker/zmtp.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

struct attack {
    const char *name, *refusal, *counter; /* of `stats` */
    void (*begin)(void);                  /* what takes its time, before all rows; NULL */
    int64_t (*run)(void);
    int growth_mib; /* what the broker's memory may have grown by after it; 0: GROWTH_MIB */
};

#define GROWTH_MIB 24

enum who { FRONT, WORKER, VICTIM, OTHER_WORKER, RETIRED, NOBODY, WHO_COUNT };

struct target {
    struct rig rig;
    struct millrace
        *mr; /* a front end of the principal "known", which does nothing wrong */
    struct zmtp_keys keys[WHO_COUNT];
    const char *front, *back;
};
extern struct target target;

/* Raw peers of these principals. Whose key nobody knows: NOBODY. */
void attack_login(struct zmtp *z, enum who who, const char *endpoint);
void attack_join(struct zmtp *z, enum who who, enum mr_role role, const char *kind);

/* The known front end has a job done. */
void attack_still_serves(void);
/* ... and so has another of its processes, which connects for that. */
void attack_newcomer_is_served(void);
/* Bytes of memory and descriptors that the broker has. */
int64_t attack_resident(void);
int attack_descriptors(void);
/* As `stats` has it now. */
int64_t attack_stat(const char *name);

/* Against a broker of its own. */
void attack_of_the_mute(void);

extern const struct attack attacks_of_strangers[], attacks_of_insiders[],
    attacks_on_ids[];

#endif
