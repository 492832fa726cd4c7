#include "schemas/base/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOT_CONFINED "The program cannot give up its rights."

/* ---- before threads ------------------------------------------------------------------------------ */

void
mr_confine_memory(bool keeps_core_dumps)
{
    struct rlimit none = {0, 0};

    /* Said in both cases: a change of user has taken it away, or the program before us. */
    (void)prctl(PR_SET_DUMPABLE, keeps_core_dumps, 0, 0, 0);
    if (!keeps_core_dumps)
        (void)setrlimit(RLIMIT_CORE, &none);
}

static enum mr_status
find_user(struct mr_confine *confine, struct mr_err *err)
{
    const struct passwd *entry;

    errno = 0;
    entry = getpwnam(confine->user);
    if (!entry)
        return mr_err_setf(err, MR_BAD_SETTING, "There is no such user.",
            "Make it (useradd --system NAME), or give `user` another name.",
            "user is %s%s%s.", confine->user, errno ? ": " : "",
            errno ? strerror(errno) : "");
    confine->uid = entry->pw_uid;
    confine->gid = entry->pw_gid;
    if (geteuid() != 0 && (geteuid() != confine->uid || getuid() != confine->uid))
        return mr_err_setf(err, MR_DENIED, "The program cannot become another user.",
            "Start it as root or as that user, or leave `user` out.",
            "user is %s, and only root may become another one.", confine->user);
    /* With root's HOME libpq stumbles over certificates that it may not look at. */
    if (setenv("HOME", entry->pw_dir, 1) != 0 || setenv("USER", entry->pw_name, 1) != 0 ||
        setenv("LOGNAME", entry->pw_name, 1) != 0)
        return mr_err_set(err, MR_NO_MEMORY, NOT_CONFINED, "No memory.", NULL);
    return MR_OK;
}

enum mr_status
mr_confine_begin(struct mr_confine *confine, const char *user, bool keeps_core_dumps,
    struct mr_err *err)
{
    *confine = (struct mr_confine){.keeps_core_dumps = keeps_core_dumps};
    if (strlen(user) >= sizeof confine->user)
        return mr_err_set(err, MR_BAD_SETTING, "There is no such user.",
            "The name is longer than any user's.", "Give `user` another name.");
    (void)snprintf(confine->user, sizeof confine->user, "%s", user);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return mr_err_set(err, MR_INTERNAL, NOT_CONFINED, strerror(errno),
            "Run it on Linux 3.5 or newer.");
    mr_confine_memory(keeps_core_dumps);
    return user[0] ? find_user(confine, err) : MR_OK;
}

bool
mr_confine_is_root_by_chance(const struct mr_confine *confine)
{
    return geteuid() == 0 && !confine->user[0];
}

/* ---- the change ---------------------------------------------------------------------------------- */

static enum mr_status
fail(const struct mr_confine *confine, const char *step, struct mr_err *err)
{
    return mr_err_setf(err, MR_DENIED, NOT_CONFINED,
        "See what limits this process (container, seccomp), or leave `user` out.",
        "user is %s; %s: %s.", confine->user, step, strerror(errno));
}

static bool
has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = 0}};
    bool is_any = syscall(SYS_capget, &header, data) != 0;

    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        is_any |= (data[i].effective | data[i].permitted | data[i].inheritable) != 0;
    return is_any;
}

/* Asked of the kernel, and tried: what was set is not what is believed here. */
static const char *
find_way_back(const struct mr_confine *confine)
{
    uid_t real, effective, saved;
    gid_t group, effective_group, saved_group;

    errno = EPERM;
    if (getresuid(&real, &effective, &saved) != 0 || real != confine->uid ||
        effective != confine->uid || saved != confine->uid)
        return "it is still another user";
    if (getresgid(&group, &effective_group, &saved_group) != 0 || group != confine->gid ||
        effective_group != confine->gid || saved_group != confine->gid)
        return "it is still in another group";
    if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || seteuid(0) == 0 || setegid(0) == 0) {
        errno = EPERM;
        return "it could become root again";
    }
    return has_capabilities() ? "it still has capabilities" : NULL;
}

enum mr_status
mr_confine_enter(const struct mr_confine *confine, struct mr_err *err)
{
    const char *way_back;
    int death_signal = 0;

    if (!confine->user[0] || confine->uid == 0 || geteuid() != 0)
        return MR_OK;
    /* A change of user forgets it; whoever started us counts on it. */
    (void)prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
    if (initgroups(confine->user, confine->gid) != 0)
        return fail(confine, "its groups", err);
    if (setresgid(confine->gid, confine->gid, confine->gid) != 0)
        return fail(confine, "its group", err);
    if (setresuid(confine->uid, confine->uid, confine->uid) != 0)
        return fail(confine, "its id", err);
    way_back = find_way_back(confine);
    if (way_back)
        return fail(confine, way_back, err);
    (void)prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0);
    mr_confine_memory(confine->keeps_core_dumps);
    return MR_OK;
}
