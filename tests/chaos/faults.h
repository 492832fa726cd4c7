/*
 * Striking and healing: takes the schedule's events as they become due, does them to the crew,
 * undoes them when their time is over, and writes both into faults.log:
 *
 *     time_us fault fire|heal detail
 */
#ifndef MR_CHAOS_FAULTS_H
#define MR_CHAOS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/chaos/crew.h"
#include "tests/chaos/schedule.h"

#define MR_STRIKES_MAX 64 /* that are not healed yet */

struct mr_strike {
    struct mr_fault_event event;
    int64_t heal_at_us;
    struct mr_actor *actor; /* NULL: none */
    pid_t pid;
    enum mr_link link;
    char detail[96];
};

struct mr_faults {
    struct mr_crew *crew;
    const struct mr_schedule *schedule;
    uint32_t next;
    int64_t begin_us;
    int log;
    struct mr_strike strikes[MR_STRIKES_MAX];
    uint32_t strike_count;
    uint32_t fired[MR_FAULTS], backends_ended;
    /* Called for each one that was fired; may be NULL. */
    void (*tell)(void *context, const struct mr_strike *strike);
    void *context;
};

enum mr_status mr_faults_open(struct mr_faults *faults, struct mr_crew *crew,
    const struct mr_schedule *schedule, struct mr_err *err) MR_MUST_CHECK;
void mr_faults_close(struct mr_faults *faults);

/* What is due. One that nobody can suffer now (all of its victims are down) waits. */
void mr_faults_turn(struct mr_faults *faults);
bool mr_faults_is_over(const struct mr_faults *faults);
/* The last two lines of faults.log: everything is healed; no job is left. */
void mr_faults_note_drain(struct mr_faults *faults, bool is_over);
/* At once. */
void mr_faults_heal_all(struct mr_faults *faults);

#endif
