#include "broker/ready.h"

#include "broker/settings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
print_list(FILE *file, const char *side, const char *list)
{
    const char *rest = list;
    char endpoint[256];

    while (mr_settings_next_endpoint(&rest, endpoint, sizeof endpoint))
        fprintf(file, "%s %s\n", side, endpoint);
}

static enum mr_status
fail(const char *path, struct mr_err *err)
{
    return mr_err_setf(err, MR_BAD_SETTING, "The ready file cannot be written.",
        "Give a path in a folder that this user may write.", "%s: %s.", path,
        strerror(errno));
}

enum mr_status
mr_ready_write(const char *path, const char *front, const char *back, struct mr_err *err)
{
    char fresh[PATH_MAX];
    FILE *file;
    bool is_written;

    if (!path || !*path)
        return MR_OK;
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh) {
        errno = ENAMETOOLONG;
        return fail(path, err);
    }
    file = fopen(fresh, "we");
    if (!file)
        return fail(path, err);
    print_list(file, "front", front);
    print_list(file, "back", back);
    is_written = !ferror(file);
    if (fclose(file) != 0 || !is_written || rename(fresh, path) != 0) {
        (void)unlink(fresh);
        return fail(path, err);
    }
    return MR_OK;
}

void
mr_ready_remove(const char *path)
{
    /* It may never have been written. */
    if (path && *path)
        (void)unlink(path);
}
