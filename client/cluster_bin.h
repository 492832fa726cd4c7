/*
 * Where PostgreSQL's server programs are. Distributions keep them out of PATH.
 */
#ifndef MR_CLIENT_CLUSTER_BIN_H
#define MR_CLIENT_CLUSTER_BIN_H

#include <limits.h>
#include <stdbool.h>

/* The folder with initdb and postgres, version 15 or newer: of version `wanted` if it is
 * installed (0: no wish), else from PATH, else the newest. False: there is none. */
bool mr_cluster_bin_find(char out[PATH_MAX], long wanted);

#endif
