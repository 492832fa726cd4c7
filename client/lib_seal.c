#include "client/lib_priv.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
mr_lib_seal_open(struct millrace *mr, const struct millrace_options *options,
    struct millrace_error *error)
{
    const char *given = options->seal_file;
    char room[PATH_MAX];
    struct mr_err err = {.status = MR_OK};
    const char *path;
    enum mr_status status;

    if (given && !given[0])
        return MILLRACE_OK;
    path = mr_seal_ring_path(
        given ? given : getenv("MILLRACE_SEAL_FILE"), room, sizeof room);
    if (!path)
        return MILLRACE_OK;
    status = mr_seal_ring_read(path, &mr->ring, &err);
    (void)mr_lib_error(error, (int)status, "The handle was not opened.", err.why);
    if (status && error && err.todo[0])
        (void)snprintf(error->todo, sizeof error->todo, "%s", err.todo);
    return (int)status;
}

bool
mr_lib_seal_fits(const struct millrace *mr, size_t args_bytes)
{
    return args_bytes <= MR_PAYLOAD_BYTES_MAX &&
           (!mr->ring || mr_seal_bytes(args_bytes) <= MR_PAYLOAD_BYTES_MAX);
}

void
mr_lib_seal_row(const struct millrace *mr, struct mr_job_new *row, uint8_t *room)
{
    const struct mr_seal_job job = {.id = row->id, .kind = row->kind};

    /* The size and the kind were looked at before. */
    MR_ASSERT(mr_seal(mr->ring, 0, &job, row->payload, room) == MR_OK);
    row->payload = mr_span(room, mr_seal_bytes(row->payload.n));
}

bool
mr_lib_seal_again(const struct millrace *mr, const struct mr_lib_unit *unit)
{
    struct mr_rd rd = mr_rd_open(unit->job);
    struct mr_seal_job job;
    struct mr_span id, payload;

    if (!mr->ring)
        return false;
    (void)mr_rd_array(&rd, UINT16_MAX);
    id = mr_rd_bin(&rd, sizeof job.id.b);
    job.kind = mr_rd_str(&rd, MR_NAME_BYTES_MAX);
    payload = mr_rd_bin(&rd, MR_PAYLOAD_BYTES_MAX);
    MR_ASSERT(rd.status == MR_OK && id.n == sizeof job.id.b); /* we wrote it */
    memcpy(job.id.b, id.p, id.n);
    /* The request's own memory, which nobody else reads now. */
    return mr_seal_again(mr->ring, &job, (uint8_t *)(uintptr_t)payload.p, payload.n) ==
           MR_OK;
}
