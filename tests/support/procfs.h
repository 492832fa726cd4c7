/*
 * Looking at processes from outside, by number. Any thread.
 */
#ifndef MR_SUPPORT_PROCFS_H
#define MR_SUPPORT_PROCFS_H

#include <stdbool.h>
#include <sys/types.h>

/* As in ps: 'R', 'S', 'T' (stopped), 'Z' (has ended, nobody asked how); 'X': there is none. */
char procfs_state(pid_t pid);

/* It runs, or could. */
bool procfs_is_there(pid_t pid);

/* 0: there is no such process. */
pid_t procfs_parent(pid_t pid);

/* Those whose parent it is, ended ones not counted; at most `most`. */
int procfs_children(pid_t parent, pid_t *out, int most);

#endif
