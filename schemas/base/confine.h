/*
 * What a program gives up before it listens to anybody: the user it was started as, the way back
 * to more rights, and memory that lands on disk when it crashes. Main thread.
 */
#ifndef MR_BASE_CONFINE_H
#define MR_BASE_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "schemas/base/status.h"

struct mr_confine {
    char user[64]; /* whom to become; "": stay */
    uid_t uid;
    gid_t gid;
    bool keeps_core_dumps;
};

/*
 * Before any other thread: no program that is started from now on gets more rights than this one
 * has (so set-user-id programs stay ordinary), and no core files, nor other processes of the same
 * user that read our memory, unless `keeps_core_dumps`. Looks up whom to become: `user` is a
 * name, "" for none. HOME and USER are his from here on, because libraries look for files there.
 * MR_BAD_SETTING if there is no such user; MR_DENIED if we are not root and not him.
 */
enum mr_status mr_confine_begin(struct mr_confine *confine, const char *user,
    bool keeps_core_dumps, struct mr_err *err) MR_MUST_CHECK;

/*
 * When what only root may do is done (ports below 1024 bound, key files read): become that user in
 * all threads, with his groups and without any capability, and see that there is no way back.
 * MR_DENIED if that is not certain; the process must end then. Without a user it does nothing.
 */
enum mr_status mr_confine_enter(
    const struct mr_confine *confine, struct mr_err *err) MR_MUST_CHECK;

/* True if this process is root and was not told to be: worth a warning. */
bool mr_confine_is_root_by_chance(const struct mr_confine *confine);

/* Only the part about core files and memory: a new program (exec) starts without it. */
void mr_confine_memory(bool keeps_core_dumps);

#endif
