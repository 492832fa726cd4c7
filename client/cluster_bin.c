#include "client/cluster_bin.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION_MIN 15

static bool
has_program(const char *bin, const char *name)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof path, "%s/%s", bin, name) < PATH_MAX &&
           access(path, X_OK) == 0;
}

static bool
has_programs(const char *bin)
{
    return has_program(bin, "initdb") && has_program(bin, "postgres");
}

/* 15 from ".../postgresql/15/bin" or ".../pgsql-15/bin"; 0 if there is no number. */
static long
version_of(const char *bin)
{
    const char *end = strrchr(bin, '/');
    const char *p = end;

    while (p && p > bin && p[-1] >= '0' && p[-1] <= '9')
        p--;
    return p && p < end ? strtol(p, NULL, 10) : 0;
}

/* The wanted version if it is there (0: any), else the newest one. */
static bool
find_installed(char out[PATH_MAX], long wanted)
{
    static const char *const places[] = {
        "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql-*/bin"};
    long best = 0;

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        glob_t found;

        if (glob(places[i], 0, NULL, &found) != 0)
            continue;
        for (size_t j = 0; j < found.gl_pathc; j++) {
            long version = version_of(found.gl_pathv[j]);

            if (version < VERSION_MIN || !has_programs(found.gl_pathv[j]) ||
                (version <= best && version != wanted) || (wanted && best == wanted))
                continue;
            best = version;
            (void)snprintf(out, PATH_MAX, "%s", found.gl_pathv[j]);
        }
        globfree(&found);
    }
    return best > 0;
}

static bool
find_in_path(char out[PATH_MAX])
{
    const char *path = getenv("PATH");

    while (path && *path) {
        size_t n = strcspn(path, ":");

        if (n && snprintf(out, PATH_MAX, "%.*s", (int)n, path) < PATH_MAX &&
            has_programs(out))
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

bool
mr_cluster_bin_find(char out[PATH_MAX], long wanted)
{
    if (wanted && find_installed(out, wanted) && version_of(out) == wanted)
        return true;
    return find_in_path(out) || find_installed(out, 0);
}
