/*
 * Who logs in under the routing id of another is ignored by libzmq, which keeps memory for it until
 * the socket is closed. That cannot be prevented, so it has a bound: the broker ends in order, is
 * started again, and has lost nothing.
 */
#include "tests/attacker/attack.h"

#include <stdio.h>
#include <string.h>

#define LOGINS_MAX "200"
#define LOGINS 300
#define EXIT_NO_MEMORY 71

/* False: there is no broker any more. */
static bool
login_as(struct zmtp *z, const char *endpoint, const char *id)
{
    bool is_open = zmtp_try_to_open(z, endpoint, NULL);

    zmtp_property(z, "Identity", id, strlen(id));
    return is_open && zmtp_login(z);
}

void
attack_of_the_mute(void)
{
    static const char id[] = "the first";
    static struct rig rig;
    struct zmtp first, other;
    struct millrace_id job;
    struct millrace *mr;

    rig_open(&rig);
    rig_broker(&rig, (const char *const[]){"--mute-logins-max", LOGINS_MAX,
                         "--unknown-kinds", "accept", NULL});
    mr = rig_client(&rig);
    job = rig_submit(mr, "test.noop", NULL, 0);
    ck_assert(login_as(&first, rig.front, id));
    zmtp_join(&first, MR_ROLE_CLIENT, NULL);
    for (int i = 0; i < LOGINS; i++) {
        (void)login_as(&other, rig.front, id);
        zmtp_close(&other);
    }
    ck_assert_msg(mr_proc_wait(&rig.broker, RIG_WAIT_MS), "the broker goes on");
    ck_assert_int_eq(mr_proc_exit_code(&rig.broker), EXIT_NO_MEMORY);
    zmtp_close(&first);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    rig_expect(mr, job, MILLRACE_SUCCEEDED);
    millrace_close(mr);
    rig_close(&rig);
    printf("%-46s %-28s\n", "logins under an id that is taken", "the broker starts anew");
}
