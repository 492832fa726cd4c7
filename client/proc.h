/*
 * Child processes: start, wait with a deadline, stop. A child has a process group of its own
 * (Ctrl-C at the terminal reaches only us, so that we can stop things in order) and is killed
 * when the thread that started it ends, however it ends: start children from a thread that
 * lives as long as they should, normally main. One thread per struct.
 */
#ifndef MR_CLIENT_PROC_H
#define MR_CLIENT_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "schemas/base/status.h"

struct mr_proc_spec {
    const char *const *argv; /* NULL-ended; argv[0] with a slash, or looked up in PATH */
    const char *const
        *env; /* NULL-ended "NAME=value", or "NAME" to leave it out; NULL: as ours */
    const char *output;    /* standard output and error are appended here; NULL: ours */
    const char *directory; /* working directory; NULL: ours */
    int death_signal;      /* sent to the child when we die; 0: SIGKILL */
    uid_t uid;             /* with has_user: run as this user, without extra groups */
    gid_t gid;
    bool has_user;
};

/* Zero it before first use. */
struct mr_proc {
    pid_t pid;       /* 0: never started */
    int pidfd;       /* -1: the kernel has none */
    bool is_done;    /* reaped; wait_status is valid */
    int wait_status; /* as of waitpid(2) */
};

/* Fork and exec; standard input is /dev/null. MR_OK once the program itself runs; MR_NOT_FOUND
 * if there is no such program, MR_DENIED, MR_INTERNAL. */
enum mr_status mr_proc_start(struct mr_proc *proc, const struct mr_proc_spec *spec,
    struct mr_err *err) MR_MUST_CHECK;

/* True if it has ended (and is reaped) within timeout_ms; -1 waits for ever, 0 only looks. */
bool mr_proc_wait(struct mr_proc *proc, int timeout_ms);

/* True while it runs. */
bool mr_proc_is_alive(struct mr_proc *proc);

/* To the child only, or to its whole group. Nothing happens after it was reaped. */
void mr_proc_signal(struct mr_proc *proc, int signal_number);
void mr_proc_signal_group(struct mr_proc *proc, int signal_number);

/* Send `signal_number` (SIGKILL: to its group), wait up to grace_ms, then kill its group. Always
 * ends it; true if it went in time. */
bool mr_proc_stop(struct mr_proc *proc, int signal_number, int grace_ms);

/* Exit code, or 128 + signal; -1 while it runs. */
int mr_proc_exit_code(const struct mr_proc *proc);

/* Run to the end. MR_OK for exit code 0; MR_TIMEOUT (it was killed); else MR_INTERNAL with the
 * last error line of `output` as the reason. */
enum mr_status mr_proc_run(
    const struct mr_proc_spec *spec, int timeout_ms, struct mr_err *err) MR_MUST_CHECK;

/* Wait until `path` is there and not empty. MR_INTERNAL if the process (may be NULL) ends
 * before, MR_TIMEOUT. */
enum mr_status mr_proc_wait_file(struct mr_proc *proc, const char *path, int timeout_ms,
    struct mr_err *err) MR_MUST_CHECK;

/* A program of ours: beside the running one, else in PATH. MR_NOT_FOUND names both places. */
enum mr_status mr_proc_find(
    const char *name, char *out, size_t room, struct mr_err *err) MR_MUST_CHECK;

/* A TCP port of 127.0.0.1 that nobody uses at this moment; 0 if there is none. */
uint16_t mr_proc_free_port(void);

/* The last line of a file that contains `word` (NULL: that is not empty) into `out`,
 * terminated; "" if there is none in its last 4 KiB. `path` may be NULL. */
void mr_proc_last_line(const char *path, const char *word, char *out, size_t room);

#endif
