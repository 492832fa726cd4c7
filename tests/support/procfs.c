#include "tests/support/procfs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
look(pid_t pid, char *state, pid_t *parent)
{
    char path[64], text[512], *name_end;
    FILE *file;
    int number = 0;
    size_t n;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    name_end = strrchr(text, ')');
    if (!name_end || sscanf(name_end, ") %c %d", state, &number) != 2)
        return false;
    *parent = number;
    return true;
}

char
procfs_state(pid_t pid)
{
    char state;
    pid_t parent;

    return look(pid, &state, &parent) ? state : 'X';
}

bool
procfs_is_there(pid_t pid)
{
    char state = procfs_state(pid);

    return state != 'X' && state != 'Z';
}

pid_t
procfs_parent(pid_t pid)
{
    char state;
    pid_t parent;

    return look(pid, &state, &parent) ? parent : 0;
}

int
procfs_children(pid_t parent, pid_t *out, int most)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    int n = 0;

    while (folder && n < most && (entry = readdir(folder))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (pid > 0 && procfs_parent(pid) == parent && procfs_is_there(pid))
            out[n++] = pid;
    }
    if (folder)
        (void)closedir(folder);
    return n;
}
