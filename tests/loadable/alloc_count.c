/*
 * Counts the heap allocations of one thread of a program: started with LD_PRELOAD on this file,
 * ALLOC_COUNT on a file of sizeof(struct alloc_counts) bytes and ALLOC_THREAD on the thread's name. Who
 * called tells whose they are: libzmq's (and those of the C++ runtime, which it alone uses), or
 * ours, which is all others, the C library's on our behalf included.
 */
#include "tests/loadable/alloc_count.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { RANGES_MAX = 16, NAME_BYTES = 16 };

/* Of the C library, below the names that are taken over here. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

static struct alloc_counts *counts;
static char wanted[NAME_BYTES], at_start[NAME_BYTES];

/* ---- whose code ------------------------------------------------------------------------------- */

static struct range {
    uintptr_t from, to;
} zmq[RANGES_MAX];
static size_t zmq_count;

static void
find_zmq(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], rights[8];
    uintptr_t from, to;

    while (maps && fgets(line, sizeof line, maps)) {
        if (zmq_count < RANGES_MAX &&
            (strstr(line, "libzmq") || strstr(line, "libstdc++")) &&
            sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &from, &to, rights) == 3 &&
            strchr(rights, 'x'))
            zmq[zmq_count++] = (struct range){from, to};
    }
    if (maps)
        fclose(maps);
}

static bool
is_zmq(const void *caller)
{
    for (size_t i = 0; i < zmq_count; i++)
        if ((uintptr_t)caller >= zmq[i].from && (uintptr_t)caller < zmq[i].to)
            return true;
    return false;
}

/* ---- whose thread ----------------------------------------------------------------------------- */

enum { UNNAMED, COUNTED, OTHER };
static _Thread_local int role __attribute__((tls_model("initial-exec")));

/* A thread has the program's name until it takes its own. */
static bool
is_counted(void)
{
    char name[NAME_BYTES] = "";

    if (role == UNNAMED && prctl(PR_GET_NAME, name) == 0 && strcmp(name, at_start) != 0)
        role = strcmp(name, wanted) == 0 ? COUNTED : OTHER;
    return role == COUNTED;
}

static void
count(const void *caller, size_t n)
{
    if (!counts || !is_counted())
        return;
    if (is_zmq(caller)) {
        atomic_fetch_add_explicit(&counts->zmq, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&counts->ours, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->our_bytes, n, memory_order_relaxed);
}

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("ALLOC_COUNT"), *name = getenv("ALLOC_THREAD");
    void *memory;
    int fd = path && name ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    (void)prctl(PR_GET_NAME, at_start);
    memcpy(wanted, name, strnlen(name, sizeof wanted - 1));
    find_zmq();
    memory = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    counts = memory == MAP_FAILED ? NULL : memory;
}

/* ---- the names that are taken over ------------------------------------------------------------ */

/* Names are hidden unless they say otherwise; a hidden one takes nothing over. */
#pragma GCC visibility push(default)

void *
malloc(size_t n)
{
    count(__builtin_return_address(0), n);
    return __libc_malloc(n);
}

void *
calloc(size_t items, size_t n)
{
    count(__builtin_return_address(0), items * n);
    return __libc_calloc(items, n);
}

void *
realloc(void *p, size_t n)
{
    count(__builtin_return_address(0), n);
    return __libc_realloc(p, n);
}

void *
memalign(size_t alignment, size_t n)
{
    count(__builtin_return_address(0), n);
    return __libc_memalign(alignment, n);
}

void *
aligned_alloc(size_t alignment, size_t n)
{
    count(__builtin_return_address(0), n);
    return __libc_memalign(alignment, n);
}

int
posix_memalign(void **out, size_t alignment, size_t n)
{
    count(__builtin_return_address(0), n);
    *out = __libc_memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}

#pragma GCC visibility pop
